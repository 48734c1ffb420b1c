"""Learned conditions: one vector per task."""

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.torch_compat import in_function_transform


class TaskEmbedding(nn.Module):
    """A learned condition e_t for each task, initialised from N(0, 1), which is what generators expect of a condition.

    Args:
        tasks: the number of tasks.
        size: C, the size of each vector.
        device, dtype: of the vectors.

    Raises:
        ValueError: a size is below 1, or a task is not in 0 … tasks − 1.
        TypeError: a size or task is not an integer.

    Example:
        >>> tasks = hn.TaskEmbedding(5, size=8)
        >>> tasks(2).shape                              # one task
        torch.Size([8])
        >>> tasks(torch.tensor([2, 0, 4])).shape        # one task per sample
        torch.Size([3, 8])
        >>> tasks.add()                                 # a sixth one
        >>> tasks(5).shape
        torch.Size([8])
    """

    def __init__(
        self, tasks: int, size: int, device: torch.device | str | int | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        check_sizes(tasks=tasks, size=size)
        self.weight = nn.Parameter(torch.randn(tasks, size, device=device, dtype=dtype))

    def forward(self, task: int | Tensor) -> Tensor:
        """Return e_t, (C,), for a task, or (B, C) for a tensor of B tasks."""
        tasks = len(self.weight)
        if isinstance(task, Tensor):
            if task.dtype not in (torch.int64, torch.int32) or task.dim() > 1:
                raise TypeError(
                    f"task should be a whole number or a vector of them, got {task.dtype} {tuple(task.shape)}"
                )
            if not (torch.compiler.is_compiling() or in_function_transform()) and not task.is_meta:
                outside = task[(task < 0) | (task >= tasks)]
                if len(outside):
                    raise ValueError(f"each task should be one of 0 to {tasks - 1}, got {outside.unique().tolist()}")
            return nn.functional.embedding(task, self.weight)
        if not isinstance(task, int) or isinstance(task, bool):
            raise TypeError(f"task should be a whole number or a vector of them, got {task!r}")
        if not 0 <= task < tasks:
            raise ValueError(f"task should be one of 0 to {tasks - 1}, got {task}")
        return self.weight[task]

    @torch.no_grad()
    def add(self, tasks: int = 1) -> None:
        """Add tasks, with new vectors from N(0, 1). The others keep their numbers and vectors.

        `weight` becomes a new parameter: make a new optimiser, or replace the parameter in the one in use.
        """
        check_sizes(tasks=tasks)
        new = torch.cat((self.weight, torch.randn_like(self.weight[:1].expand(tasks, -1))))
        self.weight: nn.Parameter = nn.Parameter(new, requires_grad=self.weight.requires_grad)

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"{self.weight.shape[0]}, size={self.weight.shape[1]}"
