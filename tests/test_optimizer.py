"""The optimizer: rows of a vocabulary that are in a batch see AdamW, the others stay."""

from __future__ import annotations

import torch

from autotl.training.optimizer import EPSILON, FIRST_SCALE, VOCABULARY, AdamW, LossScale, clip

RATE, DECAY = 0.01, 0.1


def an_embedding(*, sparse: bool, rows: int = 6) -> torch.nn.Embedding:
    torch.manual_seed(0)
    return torch.nn.Embedding(rows, 4, sparse=sparse)


def steps_on(table: torch.nn.Embedding, optimizer: torch.optim.Optimizer, batches: list[list[int]]) -> None:
    for number, rows in enumerate(batches):
        weights = torch.linspace(-1, 1, 4 * len(rows)).reshape(-1, 4) * (number + 1)
        (table(torch.tensor(rows)) * weights).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def groups_of(table: torch.nn.Embedding) -> list[dict[str, object]]:
    return [{"params": [table.weight], "lr": RATE, "weight_decay": DECAY}]


def torchs_adamw(table: torch.nn.Embedding) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups_of(table), eps=EPSILON)


def test_rows_that_are_in_every_batch_see_torchs_adamw():
    batches = [[0, 1, 2, 3, 4, 5, 1], [5, 4, 3, 2, 1, 0], [0, 0, 1, 2, 3, 4, 5]]
    ours, theirs = an_embedding(sparse=True), an_embedding(sparse=False)
    steps_on(ours, AdamW(groups_of(ours)), batches)
    steps_on(theirs, torchs_adamw(theirs), batches)
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_a_row_sees_adamw_on_the_steps_in_which_it_occurs():
    ours, theirs = an_embedding(sparse=True), an_embedding(sparse=False)
    steps_on(ours, AdamW(groups_of(ours)), [[3], [1, 2], [2], [3, 3]])
    optimizer = torchs_adamw(theirs)
    for number, rows in ((0, [3]), (3, [3, 3])):
        weights = torch.linspace(-1, 1, 4 * len(rows)).reshape(-1, 4) * (number + 1)
        (theirs(torch.tensor(rows)) * weights).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(ours.weight[3], theirs.weight[3])


def test_rows_that_never_occur_stay_to_the_bit():
    table = an_embedding(sparse=True)
    before = table.weight.detach().clone()
    steps_on(table, AdamW(groups_of(table)), [[0, 2], [2, 2], [0]])
    assert torch.equal(table.weight[[1, 3, 4, 5]], before[[1, 3, 4, 5]])
    assert not torch.isclose(table.weight[[0, 2]], before[[0, 2]]).any()


def test_clipping_counts_the_gradients_of_a_vocabulary_too():
    def one_step(*, sparse: bool) -> tuple[torch.Tensor, float]:
        table, layer = an_embedding(sparse=sparse), torch.nn.Linear(4, 2, bias=False)
        torch.nn.init.constant_(layer.weight, 0.5)
        optimizer = AdamW([{"params": [table.weight, layer.weight], "lr": RATE, "weight_decay": 0.0}])
        layer(table(torch.tensor([0, 1, 1, 4]))).mul(100.0).sum().backward()
        clip(optimizer, 1.0)
        optimizer.step()
        assert optimizer.grad_scale is not None
        return layer.weight.detach(), float(optimizer.grad_scale)

    (dense, scale), (sparse, same) = one_step(sparse=False), one_step(sparse=True)
    assert scale > 10
    assert abs(same / scale - 1) < 1e-6
    torch.testing.assert_close(sparse, dense)


def test_fine_tuning_leaves_words_that_no_row_holds(tmp_path):
    from autotl.training.optimizer import parameter_groups

    class Words(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList([torch.nn.Embedding(VOCABULARY, 4), torch.nn.Embedding(8, 4)])

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = Words(), torch.nn.Linear(4, 2)

    model = Model()
    before = model.backbone.stages[0].weight.detach().clone()
    groups = parameter_groups(model, 0, learning_rate=RATE, layer_decay=1.0, weight_decay=DECAY)  # type: ignore[arg-type]
    optimizer = AdamW(groups)
    for group in groups:
        group["lr"] = RATE
    words, places = torch.tensor([5, 7, 5]), torch.tensor([0, 1, 2])
    for _ in range(3):
        vectors = model.backbone.stages[0](words) + model.backbone.stages[1](places)
        torch.nn.functional.cross_entropy(model.head(vectors), torch.tensor([0, 1, 0])).backward()
        clip(optimizer, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    changed = (model.backbone.stages[0].weight != before).any(1).nonzero().flatten().tolist()
    assert changed == [5, 7]


def test_a_scaled_loss_moves_weights_as_an_unscaled_one_and_an_overflow_moves_nothing():
    start = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    tables = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    optimizers = [AdamW([{"params": [table], "lr": 0.1, "weight_decay": 0.01}]) for table in tables]
    scale = LossScale(torch.device("cpu"))
    for _ in range(5):
        (tables[0] ** 2).sum().backward()
        ((tables[1] ** 2).sum() * scale.value).backward()
        norms = [clip(optimizers[0], 1.0), clip(optimizers[1], 1.0, scale)]
        torch.testing.assert_close(*norms)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        torch.testing.assert_close(*tables)
    before = tables[1].detach().clone()
    (tables[1] ** 2 * float("inf")).sum().backward()
    assert clip(optimizers[1], 1.0, scale) == 0.0
    optimizers[1].step()
    assert torch.equal(tables[1], before)
    assert scale.value == FIRST_SCALE / 2


def test_gradients_that_overflow_at_any_scale_are_told():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, scale = AdamW([{"params": [weight], "lr": 0.1, "weight_decay": 0.0}]), LossScale(torch.device("cpu"))
    found = []
    for _ in range(20):
        weight.grad = torch.full((2,), float("nan"))
        found.append(bool(clip(optimizer, 1.0, scale).isfinite()))
    assert found == [True] * 16 + [False] * 4


def test_gradients_that_are_no_numbers_move_no_weight():
    for sparse in (False, True):
        table = an_embedding(sparse=sparse)
        before, optimizer = table.weight.detach().clone(), AdamW(groups_of(table))
        (table(torch.tensor([1, 2])) * torch.tensor([[torch.nan], [1.0]])).sum().backward()
        assert not clip(optimizer, 1.0).isfinite()
        optimizer.step()
        assert torch.equal(table.weight, before) or sparse
        assert table.weight.isfinite().all()
