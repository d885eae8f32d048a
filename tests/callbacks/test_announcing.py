"""How callbacks say something."""

from lamina.callbacks.announcing import announce


def test_a_line_goes_to_standard_output(capsys):
    announce("Epoch 1: saved.")
    assert capsys.readouterr() == ("Epoch 1: saved.\n", "")
