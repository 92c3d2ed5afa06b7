"""Keys and bundles as a whole: which of them cannot be used."""

import json
from pathlib import Path

import pytest

from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.dev.ca import create_ca
from authz_server.dev.issuer import create_issuer
from authz_server.telemetry.control_metrics import ControlMetrics

LACKING = {
    "issuer corp has no keys": False,
    "issuer partner has no keys": True,
    "bundle shop.example has no certificates": False,
}


class Scene:
    """A trust domain, an issuer in a file, one that is fetched, and the metrics of it all."""

    def __init__(self, directory: Path) -> None:
        self.bundle = directory / "bundle.pem"
        self.keys = directory / "jwks.json"
        nobody = "http://127.0.0.1:1/jwks"
        issuers: dict[str, dict[str, object]] = {
            "corp": {"issuer": "https://login.example/", "audiences": ["a"], "keys": {"file": "jwks.json"}},
            "partner": {"issuer": "https://other.example/", "audiences": ["a"], "keys": {"url": nobody}},
        }
        issuers["partner"]["required"] = True
        workloads = {"trust_domains": {"shop.example": {"bundle": "bundle.pem"}}}
        settings = Settings.model_validate({"issuers": issuers, "workloads": workloads}, context={"base": directory})
        self.metrics = ControlMetrics(directory / "metrics")
        self.trust = Trust(settings, self.metrics, lambda: None)

    def problems(self) -> float:
        """What the metric says."""
        line = next(line for line in self.metrics.render().decode().splitlines() if line.startswith("authz_trust"))
        return float(line.split()[1])


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_has_not_come_yet_is_missing(scene: Scene) -> None:
    """Of issuers keys, of bundles certificates; the metric counts each of them once, before anything was read."""
    assert scene.trust.missing() == LACKING
    assert scene.problems() == 3
    scene.trust.reread()
    assert scene.trust.missing() == LACKING
    assert scene.problems() == 3


def test_what_is_there_is_not_missing(scene: Scene) -> None:
    """An issuer whose keys cannot be fetched stays."""
    scene.bundle.write_text(create_ca("shop.example").bundle_pem)
    scene.keys.write_text(json.dumps(create_issuer().jwks()))
    scene.trust.reread()
    assert scene.trust.missing() == {"issuer partner has no keys": True}
    assert scene.problems() == 1


def test_a_file_that_is_refused_is_a_problem_though_its_last_content_serves(scene: Scene) -> None:
    """The metric counts it until it is mended."""
    good = create_ca("shop.example").bundle_pem
    scene.bundle.write_text(good)
    scene.trust.reread()
    assert scene.problems() == 2
    scene.bundle.write_text("garbage")
    scene.trust.reread()
    assert "bundle shop.example has no certificates" not in scene.trust.missing()
    assert scene.problems() == 3
    scene.bundle.write_text(good)
    scene.trust.reread()
    assert scene.problems() == 2
