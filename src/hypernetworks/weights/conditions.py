"""Learned conditions: one vector for each task."""

import torch
from torch import Tensor, nn

from ..recurrent.checks import check_sizes


class TaskEmbedding(nn.Module):
    """A learned condition e_t for each of a number of tasks, from N(0, 1): what generators expect of a condition.

        tasks = hn.TaskEmbedding(5, size=8)
        y = net(x, condition=tasks(2))              # one task: (8,)
        y = net(x, condition=tasks(task_of_each))   # a task for each sample: (B,) whole numbers -> (B, 8)

    Args:
        tasks: how many.
        size: C, the size of each vector.
        device, dtype: of the vectors.

    Errors: ValueError for a task that is not one of 0 to tasks − 1, TypeError for what is no whole number.
    """

    def __init__(self, tasks: int, size: int, device=None, dtype=None) -> None:
        super().__init__()
        check_sizes(tasks=tasks, size=size)
        self.weight = nn.Parameter(torch.randn(tasks, size, device=device, dtype=dtype))

    def forward(self, task: int | Tensor) -> Tensor:
        """e_t for a task, or the rows (B, C) for a tensor of tasks (B,)."""
        tasks = len(self.weight)
        if isinstance(task, Tensor):
            if task.dtype not in (torch.int64, torch.int32) or task.dim() > 1:
                raise TypeError(
                    f"task should be a whole number or a vector of them, got {task.dtype} {tuple(task.shape)}"
                )
            return nn.functional.embedding(task, self.weight)
        if not isinstance(task, int) or isinstance(task, bool):
            raise TypeError(f"task should be a whole number or a vector of them, got {task!r}")
        if not 0 <= task < tasks:
            raise ValueError(f"task should be one of 0 to {tasks - 1}, got {task}")
        return self.weight[task]

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{self.weight.shape[0]}, size={self.weight.shape[1]}"
