"""The demonstration: a generator of real images, its geometry measured, one page of HTML."""

from landform.demo.demo import STEPS as STEPS, run_demo as run_demo
from landform.demo.settings import (
    TRIPLES as TRIPLES,
    Sample as Sample,
    Settings as Settings,
    load_sample as load_sample,
)
