"""The configuration: a file, the environment over it, and a safe default for everything."""

from authz_server.control.settings.identity import BundleSettings, IssuerSettings, WorkloadSettings
from authz_server.control.settings.listeners import ListenSettings, TlsSettings
from authz_server.control.settings.load import LoadedSettings, load_settings
from authz_server.control.settings.root import Settings

__all__ = [
    "BundleSettings",
    "IssuerSettings",
    "ListenSettings",
    "LoadedSettings",
    "Settings",
    "TlsSettings",
    "WorkloadSettings",
    "load_settings",
]
