// A button on each code box that copies its code: of a Python session the input, without prompts and output.
(() => {
  if (!navigator.clipboard) return; // a page from another host without TLS

  const chinese = document.documentElement.lang.startsWith("zh");
  const [copy, copied] = chinese ? ["复制", "已复制"] : ["Copy", "Copied"];

  const codeOf = (box) => {
    const lines = box.textContent.trimEnd().split("\n");
    if (!lines.some((line) => line.startsWith(">>> "))) return lines.join("\n");
    return lines
      .filter((line) => /^(>>>|\.\.\.)( |$)/.test(line))
      .map((line) => line.slice(4))
      .join("\n");
  };

  for (const box of document.querySelectorAll("div.highlight")) {
    const code = box.querySelector("pre");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = copy;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(codeOf(code));
      button.textContent = copied;
      setTimeout(() => (button.textContent = copy), 1500);
    });
    box.append(button);
  }
})();
