from __future__ import annotations

import json

from foreact.encoders.base import BUNDLED
from foreact.encoders.loading import load_encoder
from tools.tiny_encoder.probes import ProbeRow
from tools.tiny_encoder.train import SIDE_PROBED, model_card


def test_the_shipped_card_is_what_the_script_writes_from_the_shipped_probes():
    rows = [ProbeRow(**row) for row in json.loads((BUNDLED / "tiny" / "probes.json").read_text())["rows"]]
    card = model_card(rows, load_encoder("tiny", image_size=SIDE_PROBED))
    assert (BUNDLED / "tiny" / "README.md").read_text() == card
