#!/bin/sh
# The environment of the image: `packaging/install.sh ENVIRONMENT cuda|cpu`, from the repository's root.
set -eu
environment=$1 variant=$2
pip="$environment/bin/python -m pip --disable-pip-version-check install --no-cache-dir --no-deps --require-hashes"

case $variant in
cuda)
  python3 -m venv "$environment"
  $pip -r requirements-cluster.lock
  ;;
cpu)
  # PyTorch's wheels on pip's index load CUDA's libraries, 4 GB, without a GPU too. Its builds for CPUs lie elsewhere, and
  # are put into packaging/wheels (README.md there)
  for name in torch torchvision; do
    version=$(sed -n "s/^$name==\([0-9.]*\).*/\1/p" requirements-cluster.lock)
    if ! grep -q "^$name==$version[+ ]" packaging/wheels/requirements.txt; then
      echo "packaging/wheels/requirements.txt must name $name==$version, the version of requirements-cluster.lock" >&2
      exit 2
    fi
  done
  python3 -m venv "$environment"
  awk '/^[a-zA-Z0-9]/ { kept = !/^(torch|torchvision|triton)==|^(nvidia|cuda)-/ } kept' requirements-cluster.lock \
    > "$environment/cpu.lock"
  $pip -r "$environment/cpu.lock"
  $pip --no-index --find-links packaging/wheels -r packaging/wheels/requirements.txt
  ;;
*)
  echo "the variant is cuda or cpu, not $variant" >&2
  exit 2
  ;;
esac
