"""XLA's program for an H100 has as many kernels a step as is committed; where JAX's plugin is installed."""

import json
import os
import subprocess
import sys

import pytest
import xla_kernels

KNOWN = json.loads(xla_kernels.FILE.read_text())


@pytest.mark.skipif(xla_kernels.refuses() is not None, reason=str(xla_kernels.refuses()))
def test_a_step_of_the_student_by_xla_has_no_more_kernels_than_before():
    words = [sys.executable, xla_kernels.__file__, "student"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr
    found = int(done.stdout.split(":")[1].split()[0])
    assert 0 < found <= KNOWN["student"]


def test_kernels_of_a_loop_and_of_what_it_calls_are_counted():
    text = """%body.1 (x: f32[2]) -> f32[2] {
  %a = f32[2]{0} fusion(%x), kind=kLoop, calls=%fused
  ROOT %b = f32[2]{0} call(%a), to_apply=%command_buffer.3
}

%command_buffer.3 (y: f32[2]) -> f32[2] {
  %c = f32[2]{0} copy(%y)
  ROOT %d = f32[2]{0} custom-call(%c), custom_call_target="gemm"
}
"""
    assert dict(xla_kernels._counted(text, "body.1")) == {"fusion": 1, "copy": 1, "custom-call": 1}
