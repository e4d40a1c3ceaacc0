"""Where a training may be judged, in permille of its own length."""

#: Thirds of thirds, as successive halving with a factor of three wants them.
FIRST, SECOND = 111, 333

#: From here on a training can be repeated with more rows, before any schedule has cooled down; and one that is long
#: leaves its model on the disk on the way.
LATE = 667

END = 1000

RUNGS = (FIRST, SECOND, LATE, END)
