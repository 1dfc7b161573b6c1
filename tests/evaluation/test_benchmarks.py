"""The results that ship: complete, honest about their machine, summed up rightly."""

import pandas as pd
import pytest

from course_utils.evaluation import benchmarks
from course_utils.evaluation.benchmarks import FACTORS, design_choices, finetuning, summary


def row(frechet, target="sample", ema=True, sampler="order 2", calls=20, seed=0, **more):
    choices = {"schedule": "cosine", "weighting": "none", "timesteps": "uniform"}
    how = {"ema": ema, "sampler": sampler, "calls": calls, "seed": seed, "frechet": frechet}
    return {"optimizer": "muon", **choices, "target": target, **how, **more}


def test_a_summary_compares_like_with_like():
    table = pd.DataFrame(
        [
            row(10.0),
            row(30.0),
            row(20.0, target="v_prediction"),
            row(99.0, ema=False),
            row(50.0, sampler="DDIM", calls=8),
            row(1.0, seed=1),
            row(44.0, target="v_prediction", optimizer="adamw"),
        ]
    )
    rows = {(r.factor, r.choice): r for r in summary(table).itertuples()}
    assert rows["target", "sample"].median == 20
    assert rows["target", "sample"].best == 10
    assert rows["target", "sample"].networks == 2
    assert rows["target", "sample"].distances == [10, 30]
    assert rows["target", "v_prediction"].median == 20
    assert rows["EMA", False].best == 99
    assert rows["sampler, 8 calls", "DDIM"].median == 50
    assert ("sampler, 8 calls", "order 2") not in rows
    assert rows["optimizer", "adamw"].best == 44
    assert rows["optimizer", "muon"].best == 20  # of the networks that tried both


def test_the_laboratory_is_complete():
    table = design_choices()
    one = table[(table.seed == 0) & (table.optimizer == "muon")]
    assert len(one.drop_duplicates(list(FACTORS))) == 32  # 3 * 3 * 2 * 2 without noise on the line
    assert one.groupby(list(FACTORS)).size().nunique() == 1
    assert (table.seed != 0).any()  # how much chance alone does
    assert table.attrs["machine"]
    assert table.samples.nunique() == 1
    assert table.seconds.max() < 1.5 * table.seconds.min()
    assert set(table.optimizer) == {"muon", "adamw"}
    assert (table.frechet > table.attrs["floor"]).all()


def test_the_stored_table_is_not_empty_words():
    assert summary(design_choices()).best.min() == pytest.approx(
        design_choices().query("seed == 0 and ema and optimizer == 'muon'").frechet.min(), abs=0.06
    )


def test_what_was_learned_before_helps_most_at_first():
    table = finetuning().set_index(["method", "step", "seed"]).sort_index()
    for step in (25, 50, 100):
        for name in ("frechet", "kernel"):
            assert (table.loc["scratch", step][name] > 1.5 * table.loc["full", step][name]).all()


def test_a_lora_of_a_twentieth_of_the_numbers_learns_nearly_as_much():
    table = finetuning()
    last = table[table.step == table.step.max()].set_index(["method", "seed"]).sort_index()
    assert len(last.loc["full"]) == len(last.loc["lora"]) >= 3
    lora, full = last.loc["lora"], last.loc["full"]
    assert (lora.parameters <= 0.05 * full.parameters).all()
    gain = {n: table.attrs["before"][n] - last[n] for n in ("frechet", "kernel")}
    share = {n: gain[n].loc["lora"] / gain[n].loc["full"] for n in gain}
    assert (share["frechet"] >= 0.8).all()
    assert share["kernel"].mean() >= 0.8  # which differs more from seed to seed
    assert (last.loc["lora off"].moved == 0).all()
    assert (last.loc["lora off"].butterflies == table.attrs["before"]["butterflies"]).all()
    assert (full.butterflies > 2 * table.attrs["before"]["butterflies"]).all()  # it forgets


def test_a_loss_steers_the_further_the_more_and_in_the_end_too_far():
    """With each seed."""
    table = benchmarks.steering()
    through = table[table.through & (table.loss == "colour")]
    for _, rows in through.groupby("seed"):
        rows = rows.sort_values("scale")
        assert rows.colour.is_monotonic_decreasing
        cost = rows.set_index("scale").off_palette
        assert cost[50] < 0.04 < 0.09 < cost[200]
    past = table[~table.through & (table.scale == 500)]
    assert (past.off_palette > 0.1).all()
