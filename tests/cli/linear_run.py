"""A small run of the linear network that several commands are tried on."""

RUN = "linear --lr 0.05,0.1 --batch-size 16 --seeds 6 --steps 200 --records 3 --x64".split()
