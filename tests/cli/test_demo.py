"""The command `demo` refuses what it cannot show before it trains."""

import numpy as np

from landform.cli import run


def test_a_demonstration_of_a_file_says_what_it_cannot_do(tmp_path, capsys, rng):
    images = rng.uniform(size=(40, 4, 4))
    np.savez(tmp_path / "plain.npz", X=images)
    demo = ["demo", "--data", str(tmp_path / "plain.npz"), "--out", str(tmp_path / "out")]
    for more, message in [
        (["--digits", "0,1,2"], "has none: give --digits all"),
        (["--full"], "--full needs a data set of digits"),
    ]:
        assert run([*demo, *more]) == 2
        assert message in capsys.readouterr().err
    np.savez(tmp_path / "plain.npz", X=images, y=np.arange(40) % 2)
    assert run([*demo, "--digits", "0,1,2"]) == 2
    assert "classes must be among 0, 1" in capsys.readouterr().err
