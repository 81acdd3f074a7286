# make help    lists what there is. Everything happens in .venv, which make creates and keeps in step with pyproject.toml.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv models data demo train-digits train-camvid train-lenet train-cifar10 prototxts test test-forks test-older-processors bvlc test-bvlc lint \
    check-wheel bench faithfulness clean docker docker-models attacks fuzz fuzz-replay fuzz-all test-on-bvlc \
    bvlc-recordings docs docs-serve gallery

PYTHON ?= python3
# The virtual environment and what is installed into it; Docker images have their own.
CAFFE_GP_VENV ?= .venv
EXTRAS ?= demo,dev
BIN := $(CAFFE_GP_VENV)/bin
CAFFE_GP := $(BIN)/python -m caffe_gp
READY := $(CAFFE_GP_VENV)/.ready
# The number of test processes; one thread each, so that they do not fight for the cores.
JOBS ?= 2
# What make models and make data download.
FETCH ?= all
DATA ?= voc2012 sbd-lists
# Options of caffe_gp reproduce, such as --available --workers 2.
REPRODUCE ?=
# Of make reproduce-relatives: how many images of the digits net, and of the CamVid and VOC nets.
IMAGES_OF_DIGITS ?= 400
IMAGES_OF_NETS ?= 60
# Which benchmarks make bench runs, and their options; nothing: all.
BENCH ?=
# What make fuzz fuzzes, and for how long; how many inputs make fuzz-all gives each target.
TARGET ?=
SECONDS ?= 60
RUNS ?= 30000
# Options of the gallery.
GALLERY ?=
FUZZ_TARGETS := prototxt_text caffemodel surgery net_build passes hdf5 run_folder images
# Docker images to build, the first of which is also called caffe-gp; weights to put inside ("fcn-32s fcn-8s"); more
# options of docker build.
IMAGES ?= torch bvlc cpu
MODELS ?=
BUILD ?=

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 30

$(READY): setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "make: Python 3.10 or newer is needed (PYTHON=...)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(CAFFE_GP_VENV)
	@echo "installing Python packages into $(CAFFE_GP_VENV): about 1 GB, some minutes the first time"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

venv: $(READY)  ## create or update .venv

models: $(READY)  ## download the released weights (FETCH="fcn-32s", FETCH="crfasrnn-coco --yes-non-commercial")
	$(CAFFE_GP) fetch models $(FETCH)

data: $(READY)  ## download the data sets (DATA="voc2012 sbd-lists voc2010 pascal-context mnist cifar10")
	$(CAFFE_GP) fetch data $(DATA)

.PHONY: reproduce-all reproduce-relatives reproduce-camvid reproduce-digits reproduce-voc-small reproduce-table6 \
    reproduce-figure11 reproduce-relatives-classifiers
reproduce-all: $(READY)  ## the paper's tables and figures, one by one: reproduce-table1, ... (REPRODUCE="options")
	$(CAFFE_GP) reproduce all $(REPRODUCE)

reproduce-%: $(READY)
	$(CAFFE_GP) reproduce $* $(REPRODUCE)

reproduce-table6 reproduce-relatives-classifiers: SETS := mnist cifar10
reproduce-figure11: SETS := mnist
reproduce-table6 reproduce-figure11 reproduce-relatives-classifiers: reproduce-%: $(READY)
	$(CAFFE_GP) fetch data $(SETS)
	$(CAFFE_GP) reproduce $* $(REPRODUCE)

reproduce-camvid: $(READY)  ## the same with a net trained here on CamVid
	$(CAFFE_GP) reproduce all --suite camvid $(REPRODUCE)

reproduce-digits: $(READY)  ## the same with the demo's net and scenes
	$(CAFFE_GP) fetch data digit-scenes
	$(CAFFE_GP) reproduce all --suite digits $(REPRODUCE)

reproduce-relatives: $(READY)  ## other test-time methods beside guided perturbations, on three suites (docs/relatives.md)
	$(CAFFE_GP) fetch data digit-scenes
	$(CAFFE_GP) reproduce relatives --suite digits --limit $(IMAGES_OF_DIGITS) --tuning-limit 20 $(REPRODUCE)
	$(CAFFE_GP) reproduce relatives --suite camvid --limit $(IMAGES_OF_NETS) --tuning-limit 20 $(REPRODUCE)
	$(CAFFE_GP) reproduce relatives --suite voc-small --available --limit $(IMAGES_OF_NETS) --tuning-limit 20 $(REPRODUCE)

reproduce-voc-small: $(READY)  ## the same with two small VOC nets
	$(CAFFE_GP) reproduce all --suite voc-small --available $(REPRODUCE)

demo: $(READY)  ## guided perturbations on a real net: prints a table, writes reports/demo/index.html
	$(CAFFE_GP) demo

train-digits: $(READY)  ## train the digits net again
	$(CAFFE_GP) train digits

train-camvid: $(READY)  ## train the CamVid net again (CAFFE_GP_DATA: the folder that holds camvid/)
	$(CAFFE_GP) train camvid

train-lenet: $(READY)  ## train LeNet again; train-cifar10: the CIFAR-10 net (CAFFE_GP_DATA: their folder)
	$(CAFFE_GP) train lenet

train-cifar10: $(READY)
	$(CAFFE_GP) train cifar10

prototxts: $(READY)  ## write prototxt/ and the table of docs/models.md again after a change of the code
	$(BIN)/python -m caffe_gp.training.prototxts

test: $(READY)  ## the tests
	$(BIN)/python -m pytest -q -n $(JOBS) tests

test-forks: $(READY)  ## the layers of Caffe's forks beside OpenCV 4, in an environment of its own
	$(BIN)/python -m conformance.opencv
	$(BIN)/python -m pytest -q tests/forks

attacks: $(READY)  ## every abuse of files that is known, and what comes of it (docs/security.md)
	$(BIN)/python -m attacks

fuzz: $(READY)  ## fuzz a target of fuzz/ (TARGET=net_build SECONDS=600; needs pip install '.[fuzz]')
	$(BIN)/python -m fuzz $(TARGET) --seconds $(SECONDS)

fuzz-replay: $(READY)  ## the seeds of all fuzz targets, once
	$(BIN)/python -m fuzz --replay

# Of one seed, so many inputs whatever the time: what a commit is blamed for in CI is not luck. By hand, 'make fuzz'
# tries something else each time.
fuzz-all: $(READY)  ## every fuzz target with RUNS inputs, JOBS at a time
	printf '%s\n' $(FUZZ_TARGETS) | xargs -P $(JOBS) -I{} $(BIN)/python -m fuzz {} --runs $(RUNS) --seconds 600 --seed 1

# What an older processor computes: the comparison with BVLC Caffe must not rest on the instructions of this one.
test-older-processors: $(READY)  ## the comparison with BVLC Caffe's goldens, with older instruction sets
	for isa in "SSE41 default" "AVX2 avx2"; do set -- $$isa; \
	    ONEDNN_MAX_CPU_ISA=$$1 ATEN_CPU_CAPABILITY=$$2 \
	    $(BIN)/python -m pytest -q -n $(JOBS) tests/bvlc/test_compare.py tests/bvlc/test_networks.py || exit 1; done

bvlc:  ## build the Debian 11 file system with BVLC Caffe in .cache/bvlc (root, debootstrap)
	tools/bvlc_rootfs.sh

test-bvlc: $(READY) bvlc  ## compare with BVLC Caffe, and run the driver tests on it
	$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync test-on-bvlc bvlc-recordings
	CAFFE_GP_RECORDINGS=.cache/bvlc-recordings $(BIN)/python -m pytest -q -n $(JOBS) tests/bvlc

test-on-bvlc:
	CAFFE_GP_ENGINE=bvlc tools/in_bvlc.sh python3 -m pytest -q -p no:cacheprovider -m engine tests

bvlc-recordings:
	tools/in_bvlc.sh python3 -m conformance.record
	tools/in_bvlc.sh python3 -m conformance.record_gp
	tools/in_bvlc.sh python3 -m conformance.record_classify
	tools/in_bvlc.sh python3 -m conformance.networks.record

faithfulness: $(READY)  ## compare with BVLC Caffe's recordings (make test-bvlc), write the tables in docs/
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.compare --recordings .cache/bvlc-recordings --table docs/faithfulness.md
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.networks.compare --table docs/networks.md
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.released.compare --write-inputs
	tools/in_bvlc.sh python3 -m conformance.released.record
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.released.compare --table docs/compatibility.md
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.forks.compare --write-inputs
	tools/in_bvlc.sh python3 -m conformance.forks.record
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.forks.compare --table docs/forks.md
	$(BIN)/python -m conformance.opencv
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.every.compare --write-jobs
	tools/in_bvlc.sh python3 -m conformance.every.record
	OMP_NUM_THREADS=1 $(BIN)/python -m conformance.every.compare --table docs/compatibility.md
	$(BIN)/python -m conformance.layers --table docs/layers.md

# Of .venv, whatever EXTRAS made it.
$(READY)-docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs,demo,export]'
	touch $@

gallery: $(READY)-docs  ## run the scripts and notebooks of docs/gallery, compare what they print (GALLERY="--write which_blob")
	$(BIN)/python -m website.gallery --jobs $(JOBS) $(GALLERY)

docs: gallery  ## the documentation as a site: site/index.html; a broken link or a page without a place fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

docs-serve: $(READY)-docs  ## the same while it is written (make gallery once before)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

docker: $(IMAGES:%=image-%)  ## build Docker images (IMAGES="torch bvlc cpu", MODELS="fcn-32s": weights inside)
	docker tag caffe-gp:$(firstword $(IMAGES)) caffe-gp

image-%:
	docker build --tag caffe-gp:$* --file docker/Dockerfile$(patsubst .bvlc,,.$*) --build-arg MODELS="$(MODELS)" \
	    --build-arg COMMIT="$(shell git describe --always --abbrev=12 --exclude '*' --dirty=+)" $(BUILD) .

docker-models:  ## download the released weights into the volume caffe-gp-models (FETCH as for make models)
	docker run --rm --volume caffe-gp-models:/models caffe-gp make models FETCH="$(FETCH)"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-wheel: $(READY)  ## build the wheel, install it in a new environment outside the checkout, use it there
	tests/wheel/check_wheel.sh $(BIN)/python

bench: $(READY)  ## speed and memory beside BVLC Caffe, PyTorch, OpenCV; what is reached (BENCH="gp start --rounds 1")
	$(BIN)/python -m benchmarks.run $(BENCH)

clean:  ## remove what make made, BVLC Caffe's file system included
	rm -rf .venv build dist reports site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -rf --one-file-system .cache
