"""Text from trained runs over HTTP: a page to try them in the browser, and the JSON API below it."""
