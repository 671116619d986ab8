"""What a diagnosis found, taken into an atlas of the same network, and refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convscope.atlas.build import build_atlas
from convscope.atlas.findings import findings_of_study, read_findings, write_findings
from convscope.atlas.store import Atlas
from convscope.errors import BadInput
from convscope.images.datasets import open_images
from convscope.report.page import write_page


@pytest.fixture
def atlas(tmp_path, pictures, tiny) -> Atlas:
    images = open_images(pictures)
    return build_atlas(tiny.model(), images, tmp_path / "atlas", layers=["3"], plain=True)


def study(folder: Path, weights: str | None, **changes: object) -> Path:
    finding = {"layer": "3", "kind": "dead maps", "severity": "fault", "units": [1, 4]}
    finding |= {"words": "2 maps of 3 are dead", "evidence": {"share": 0.3}, "remedies": ["fewer"]}
    elsewhere = {**finding, "layer": "7"}
    network = {"weights_sha256": weights, "findings": [finding, elsewhere], **changes}
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({"networks": [network]}))
    return folder


def test_findings_of_the_same_network_are_linked_to_its_units(atlas, tmp_path):
    assert read_findings(atlas) is None
    weights = atlas.manifest.model.weights_sha256
    write_findings(atlas, findings_of_study(study(tmp_path / "study", weights)))
    found, elsewhere = read_findings(atlas)
    assert elsewhere.layer == "7"  # not in the atlas: told, without units to look at
    assert (found.layer, found.units, found.words) == ("3", (1, 4), "2 maps of 3 are dead")
    assert found.remedies == ("fewer",)
    page = write_page(atlas.folder)
    assert '"diagnosis":[{"layer":"3"' in (page.parent / "page" / "data.js").read_text()
    assert 'href="#/diagnosis"' in page.read_text()


def test_an_atlas_without_a_diagnosis_does_not_offer_one(atlas):
    page = write_page(atlas.folder)
    assert '"diagnosis":null' in (page.parent / "page" / "data.js").read_text()
    assert 'href="#/diagnosis"' not in page.read_text()


def test_a_diagnosis_of_other_weights_is_refused(atlas, tmp_path):
    findings = findings_of_study(study(tmp_path / "study", "ab" * 32))
    with pytest.raises(BadInput, match="other weights"):
        write_findings(atlas, findings)
    assert read_findings(atlas) is None


@pytest.mark.parametrize("findings", [3, [{"layer": "3"}], None])
def test_what_is_no_diagnosis_is_refused(tmp_path, findings):
    with pytest.raises(BadInput, match="no finished diagnosis"):
        findings_of_study(study(tmp_path / "study", "ab" * 32, findings=findings))
    with pytest.raises(BadInput, match="no finished diagnosis"):
        findings_of_study(tmp_path / "nowhere")
