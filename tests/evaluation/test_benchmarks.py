"""The results that ship: complete, honest about their machine, summed up rightly."""

import pandas as pd
import pytest

from course_utils.evaluation.benchmarks import FACTORS, design_choices, summary


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
