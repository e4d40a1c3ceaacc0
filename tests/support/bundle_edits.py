"""Changes to what a bundle says of itself, as somebody with an editor makes them."""

from __future__ import annotations

import json


def edit_card(bundle, **changes):
    card = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(card | changes))


def edit_member(bundle, **changes):
    (member,) = json.loads((bundle / "bundle.json").read_text())["members"]
    edit_card(bundle, members=[member | changes])
