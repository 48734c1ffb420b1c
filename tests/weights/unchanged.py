"""What a call might change in a target, and the check that it has not."""

import copy

import torch


def state_of(target):
    """Everything in a target that a call might change."""
    return [
        (
            module,
            {name: id(value) for name, value in module.__dict__.items()},
            {name: (id(value), value.clone()) for name, value in module._parameters.items() if value is not None},
            {name: (id(value), value.clone()) for name, value in module._buffers.items() if value is not None},
            set(module._non_persistent_buffers_set),
            dict(module._modules),
            {name: copy.copy(value) for name, value in module.__dict__.items() if isinstance(value, list | dict | set)},
        )
        for module in target.modules()
    ]


def assert_unchanged(target, before):
    after = state_of(target)
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert old[0] is new[0]
        assert old[1] == new[1]
        for old_tensors, new_tensors in zip(old[2:4], new[2:4], strict=True):
            assert old_tensors.keys() == new_tensors.keys()
            for name, (identity, value) in old_tensors.items():
                assert new_tensors[name][0] == identity, name
                assert torch.equal(new_tensors[name][1], value), name
        assert old[4:6] == new[4:6]
        assert old[6].keys() == new[6].keys()
