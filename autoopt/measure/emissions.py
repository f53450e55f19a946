"""An estimate of the CO2 of measured joules, by the table of codecarbon. Nothing is asked of a network.

It is the joules that were measured, times what a country emitted on average for electricity in the year of the table:
not what this host, its building and its contract emit. Without codecarbon, or without measured joules, there is none.
"""

from __future__ import annotations

from autoopt.core.packages import require
from autoopt.errors import UsageError

JOULES_PER_KWH = 3.6e6


def grams(joules: float, country: str) -> float:
    """Grams of CO2 equivalents of so many joules in a country, by its three letters (ISO 3166-1) such as DNK.

    Raises NeedsPackage without codecarbon, UsageError for an unknown country.
    """
    require("codecarbon")
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    source = DataSource()
    if country not in source.get_global_energy_mix_data():
        raise UsageError(f"--country must be the three letters of a country, such as DNK, got {country!r}")
    energy = Energy.from_energy(kWh=joules / JOULES_PER_KWH)
    place = GeoMetadata(country_iso_code=country, country_name=country)
    return 1000.0 * float(Emissions(source).get_country_emissions(energy, place))
