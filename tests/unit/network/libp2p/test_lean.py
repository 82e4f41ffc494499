import subprocess
import sys

import pytest

from nunet_node.network.libp2p.lean import UNUSED, Hollow, StandIn

LOAD = "import sys, nunet_node.network.host; "


def in_a_fresh_process(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_library_is_loaded_without_what_only_its_unused_parts_need():
    found = in_a_fresh_process(f"{LOAD}print(*sys.modules)")

    assert "libp2p.network.swarm" in found
    assert not UNUSED & {name.partition(".")[0] for name in found}


def test_whoever_imports_one_of_the_packages_afterwards_gets_the_real_one():
    printed = in_a_fresh_process(f"{LOAD}import requests; print(requests.__version__)")

    assert printed[0][0].isdigit()


def test_a_package_that_was_loaded_before_stays_the_real_one():
    code = f"import requests; {LOAD}print(sys.modules['requests'] is requests)"

    assert in_a_fresh_process(code) == ["True"]


def test_nobody_can_make_one_of_what_was_left_out():
    with pytest.raises(ImportError, match="left out"):
        StandIn()


def test_what_the_library_makes_in_vain_is_of_no_use():
    hollow = Hollow()
    with pytest.raises(ImportError, match=r"Hollow\.resolve was left out"):
        hollow.resolve()


def test_a_key_that_needs_what_was_left_out_is_refused_and_proves_nothing():
    code = (
        "from libp2p.crypto.rsa import RSAPublicKey\n"
        "try:\n    RSAPublicKey.from_bytes(bytes(270)).verify(b'', bytes(256))\n"
        "except ImportError:\n    print('refused')"
    )

    assert in_a_fresh_process(f"{LOAD}\n{code}") == ["refused"]
