/*
 * The swap of a VM of libvirt, its folds, and recovery: two disks of one VM. What migration.pml is for the protocol over QMP,
 * by the same rules, where the two differ: no call holds a job, so that the group goes over disk by disk while the VM is
 * suspended, and what has gone over is taken back where it was broken off; and there is libvirtd, which does what it is asked,
 * writes down what it believes a little later, and can be killed between the two. README.md beside this file says what is
 * modelled, what is not, and how to run it.
 *
 * MUT_... plants a bug that must be found. GAP_... lifts a bound of the model. FIX_... closes a gap.
 */

#if defined(GAP_CALL_OUTLIVES_ITS_CALLER) || defined(GAP_PIVOT_UNRECORDED) || defined(GAP_RESUMED_BY_HAND) || \
  defined(GAP_TAKE_BACK_BROKEN_OFF) || defined(GAP_WAKE_BESIDE_A_HELD_GROUP)
#define ONE_MAY_LIE_ALONE
#endif

/* An image, seen at one block that may be any. */
#define GONE  0
#define EMPTY 1
#define OLD   2
#define NEW   3

/* The image a disk's guest reads and writes. */
#define BASE 0 /* the source's active image before the migration */
#define SOV  1 /* the overlay on the source */
#define TOV  2 /* its twin on the target */
#define TBASE 3 /* the copy of BASE on the target */

/* Jobs; the first three have a ledger entry and a commit record of their own. */
#define NO_JOB 0
#define MIRROR 1
#define FOLD 2 /* block-commit of the target overlay */
#define FOLDBACK 3 /* block-commit of the source overlay, in a rollback */
#define BACK 4 /* a disk that has gone over is copied back, while the VM is suspended */

#define from(k) (k == MIRROR || k == FOLDBACK -> SOV : TOV)
#define to(k) (k == MIRROR -> TOV : (k == FOLD -> TBASE : (k == FOLDBACK -> BASE : SOV)))

typedef Disk {
  byte image[4];
  unsigned node : 2; /* what QEMU has it on */
  unsigned believed : 2; /* what libvirtd has written down of that */
  unsigned job : 3; /* QEMU's */
  bool known; /* libvirtd has written down that there is one: `<mirror>` */
#ifdef GAP_CALL_OUTLIVES_ITS_CALLER
  unsigned asked : 3; /* a pivot that libvirtd has not come to yet */
#endif
}
Disk disk[2];
#define content(d, i) disk[d].image[i]

bool qemuLives = true;
bool stopped; /* the VM is suspended */
bool forgotten; /* libvirtd does not know the VM any more */

/* ---- the journal ---- */
bool record[4]; /* by the job's kind */
bool noted[4]; /* the ledger has jobs of this kind */
bool stopNoted; /* `noteStop` */
bool back; /* the goal */

#define SNAPSHOT 0
#define COPY 1 /* with verify and attach: before the mirrors, which libvirt opens on nothing else */
#define MIRRORS 2
#define PIVOT 3
#define FOLDS 4
#define CLEAN 5
#define UNBEGUN 0
#define INTENDED 1 /* or being undone: the goal tells */
#define DONE 2
byte step[6];

/* ---- what nobody in the story can see ---- */
bool calm; /* from here on nothing dies or fails */
bool ended;
bool attention; /* nobody drives it: a person has to do something */

/* What QEMU has open: what its guest is on, and what a job of it reads or writes. */
#define opened(d, i) (qemuLives && (disk[d].node == i || disk[d].node == TOV && i == TBASE || disk[d].node == SOV && i == BASE || \
  disk[d].job != NO_JOB && (from(disk[d].job) == i || to(disk[d].job) == i)))

#define canPivot(d, k) (disk[d].job == k && disk[d].known && disk[d].believed == from(k))
/* libvirtd writes down that the disk has gone over. */
#define saw(d, k) disk[d].believed = to(k); disk[d].known = false

/* ---- what QEMU does ---- */

inline written(d) {
  for (i : 0 .. 3) {
    if
    :: content(d, i) == NEW -> content(d, i) = OLD
    :: else
    fi
  }
  i = 0;
  content(d, disk[d].node) = NEW
}
#define changesSomething(d) (content(d, disk[d].node) != NEW || \
  ((content(d, BASE) == NEW) + (content(d, SOV) == NEW) + (content(d, TOV) == NEW) + (content(d, TBASE) == NEW) > 1))
#define guestWrites (qemuLives && !stopped && (changesSomething(0) || changesSomething(1)))

/*
 * A job brings what its overlay has to where it goes, and the disk goes over; a job on an image that the guest is not on
 * swaps nothing. What was brought before does not count: it is brought again where the job is broken off.
 */
inline goOver(d) {
  if
  :: content(d, from(disk[d].job)) != EMPTY -> content(d, to(disk[d].job)) = content(d, from(disk[d].job))
  :: else
  fi;
  if
  :: disk[d].node == from(disk[d].job) -> disk[d].node = to(disk[d].job); printf("disk %d goes over to image %d\n", d, disk[d].node)
  :: else
  fi;
  disk[d].job = NO_JOB
}

active proctype qemu() {
  byte i;
  byte d;
end:
  do
  /* To both: each is followed by itself. */
  :: d_step { guestWrites -> written(0); written(1); printf("the guest writes\n") }
  /* QEMU dies, or is shut down where the message of an `attention` asks for it. */
  :: d_step { qemuLives && (!calm || attention) && !ended ->
       printf("QEMU ends\n");
       qemuLives = false; stopped = false; forgotten = false;
       for (d : 0 .. 1) { disk[d].node = 0; disk[d].believed = 0; disk[d].job = NO_JOB; disk[d].known = false }
       d = 0
     }
  :: d_step { !calm -> calm = true }
#ifdef GAP_RESUMED_BY_HAND
  :: d_step { attention && stopped -> stopped = false; printf("a person lets the VM go on\n") }
#endif
#ifdef GAP_CALL_OUTLIVES_ITS_CALLER
  :: d_step { disk[0].asked != NO_JOB && canPivot(0, disk[0].asked) -> goOver(0); saw(0, disk[0].asked); disk[0].asked = NO_JOB }
  :: d_step { disk[1].asked != NO_JOB && canPivot(1, disk[1].asked) -> goOver(1); saw(1, disk[1].asked); disk[1].asked = NO_JOB }
#endif
  od
}

/* ---- calls of libvirt ---- */

/* Between any two effects, the manager may be killed. */
#define KILLED if :: !calm -> goto died :: true fi
/* What may fail without anybody's death. */
#define FAULT(failed) if :: !calm -> failed :: true fi
#define answers (qemuLives && !forgotten)

/*
 * A call: QEMU does something, and libvirtd writes it down. It may be refused, or libvirtd may not be there; its answer may be
 * lost, when it was killed afterwards; or it was killed between the two. The last three are the same to the caller.
 */
#define CALL(can, does, writes, failed) \
  if \
  :: atomic { answers && (can) -> d_step { does; writes }; KILLED } \
  :: atomic { answers && (can) && !calm -> d_step { does; writes }; failed } \
  :: atomic { answers && (can) && !calm -> d_step { does; printf("libvirtd is killed before it has written that down\n") }; failed } \
  :: atomic { !answers || !(can) || !calm -> failed } \
  fi

/* The same where libvirtd finds out when it is started again, from QEMU's jobs, which stay until it has seen them. */
#define FOUND_OUT(can, does, writes, failed) \
  if \
  :: atomic { answers && (can) -> d_step { does; writes }; KILLED } \
  :: atomic { answers && (can) && !calm -> d_step { does; writes }; failed } \
  :: atomic { !answers || !(can) || !calm -> failed } \
  fi

/*
 * `DOMAIN_BLOCK_JOB_ABORT` with PIVOT. Killed while it concludes, libvirtd has written down a mirror of no kind, and does not
 * load the VM any more.
 */
#define PIVOT_DISK(d, k, failed) \
  if \
  :: atomic { answers && canPivot(d, k) -> d_step { goOver(d); saw(d, k) }; KILLED } \
  :: atomic { answers && canPivot(d, k) && !calm -> d_step { goOver(d); saw(d, k) }; failed } \
  :: atomic { answers && canPivot(d, k) && !calm -> d_step { goOver(d); forgotten = true; printf("libvirtd forgets the VM\n") }; failed } \
  :: atomic { !answers || !canPivot(d, k) || !calm -> failed } \
  UNRECORDED(d, k, failed) \
  OUTLIVES(d, k) \
  fi
#ifdef GAP_PIVOT_UNRECORDED
#define UNRECORDED(d, k, failed) \
  :: atomic { answers && canPivot(d, k) && !calm -> \
       d_step { goOver(d); disk[d].known = false; printf("libvirtd is killed, and does not know of it\n") }; failed }
#else
#define UNRECORDED(d, k, failed)
#endif
#ifdef GAP_CALL_OUTLIVES_ITS_CALLER
#define OUTLIVES(d, k) \
  :: atomic { answers && canPivot(d, k) && !calm -> d_step { disk[d].asked = k; printf("a pivot of disk %d is still under way\n", d) }; goto died }
#else
#define OUTLIVES(d, k)
#endif

/* Copies and commits. QEMU refuses what already has a job, and to write to an image below a guest that writes to it. */
#define canStart(d, k) (disk[d].job == NO_JOB && !disk[d].known && disk[d].believed == from(k) && disk[d].node != to(k))
#define START(d, k, failed) CALL(canStart(d, k), disk[d].job = k, disk[d].known = true, failed)

#define ABORT(d, failed) FOUND_OUT(disk[d].job != NO_JOB, disk[d].job = NO_JOB, disk[d].known = false, failed)

/* ---- libvirt-vm.ts ---- */

/* `jobStates`: what libvirtd believes, of jobs that the ledger has. A disk that has gone over while the VM stands still: pending. */
#ifdef FIX_KNOW_A_TAKE_BACK
#define isGoingBack(d) (disk[d].known && disk[d].job == BACK)
#else
#define isGoingBack(d) false
#endif
#define pending(d, k) (noted[k] && disk[d].believed == to(k) && (!disk[d].known || isGoingBack(d)) && stopped)
#define runs(d, k) (noted[k] && disk[d].known && disk[d].believed == from(k) && disk[d].job == k)
#define held(k) (pending(0, k) || pending(1, k))
#define jobs(k) (held(k) || runs(0, k) || runs(1, k))

/* `#takeBack` of a disk that has gone over to its mirror: both sides are equal while the VM is suspended. */
#ifdef MUT_NO_TAKE_BACK
#define COPY_BACK(d, failed) skip
#elif defined(GAP_TAKE_BACK_BROKEN_OFF)
#define COPY_BACK(d, failed) \
  if \
  :: !isGoingBack(d) -> START(d, BACK, failed) \
  :: else \
  fi; \
  PIVOT_DISK(d, BACK, failed)
#else
/* A bound: it is not broken off between its start and its pivot. */
#define COPY_BACK(d, failed) \
  FOUND_OUT(canStart(d, BACK), disk[d].job = BACK; goOver(d), saw(d, BACK), failed)
#endif

/* `#takeBack` of a fold: the overlay holds nothing that the image below does not, and is put on top again by a snapshot. */
#ifdef MUT_BELIEVE_LIBVIRTD_IN_A_FOLD
#define keepsOpen(d, i) false
#else
#define keepsOpen(d, i) opened(d, i)
#endif
#define PUT_BACK(d, i, failed) \
  atomic { if :: keepsOpen(d, i) -> failed :: else fi }; \
  CALL(disk[d].job == NO_JOB && content(d, i) != GONE, PUT_ON(d, i), disk[d].believed = i, failed)
/* QEMU is never told to put an image on itself. */
#define PUT_ON(d, i) assert(disk[d].node != i); disk[d].node = i

#define CANCEL_ONE(d, k, TAKE_BACK, failed) \
  if \
  :: pending(d, k) -> TAKE_BACK(d, failed) \
  :: runs(d, k) -> ABORT(d, failed) \
  :: else \
  fi

/* `wakeVm` */
#define WAKE(failed) \
  if \
  :: stopNoted -> \
    LOOK(failed); \
    FOUND_OUT(true, stopped = false, skip, failed); \
    stopNoted = false \
  :: else \
  fi
#ifdef FIX_LOOK_BEFORE_WAKING
/* Each disk is where the records say, in QEMU. */
#define truth (record[MIRROR] -> (record[FOLD] -> TBASE : TOV) : (record[FOLDBACK] -> BASE : SOV))
#define LOOK(failed) atomic { if :: disk[0].node != truth || disk[1].node != truth -> failed :: else fi }
#else
#define LOOK(failed) skip
#endif

/* `letGo`, `cancelGroup`. A bound: the VM does not go on for one group while another is held. */
#ifdef GAP_WAKE_BESIDE_A_HELD_GROUP
#define UNLESS_HELD(k, failed) skip
#else
#define UNLESS_HELD(k, failed) atomic { if :: held(k) -> failed :: else fi }
#endif
#ifdef MUT_FORGET_A_DISK_THAT_WENT_OVER
#define CANCEL_MIRRORS(failed) CANCEL_ONE(0, MIRROR, COPY_BACK, failed); WAKE(failed)
#else
#define CANCEL_MIRRORS(failed) \
  CANCEL_ONE(0, MIRROR, COPY_BACK, failed); \
  CANCEL_ONE(1, MIRROR, COPY_BACK, failed); \
  UNLESS_HELD(FOLDBACK, failed); \
  WAKE(failed)
#endif
#define PUT_TOV_BACK(d, failed) PUT_BACK(d, TOV, failed)
#define CANCEL_FOLDS(failed) \
  CANCEL_ONE(0, FOLD, PUT_TOV_BACK, failed); \
  CANCEL_ONE(1, FOLD, PUT_TOV_BACK, failed); \
  WAKE(failed)
#define PUT_SOV_BACK(d, failed) PUT_BACK(d, SOV, failed)
#define CANCEL_FOLDS_BACK(failed) \
  CANCEL_ONE(0, FOLDBACK, PUT_SOV_BACK, failed); \
  CANCEL_ONE(1, FOLDBACK, PUT_SOV_BACK, failed); \
  UNLESS_HELD(MIRROR, failed); \
  WAKE(failed)

/* `hasBacking`: whether an overlay lies on its image, as libvirtd believes. Where one does and the other does not, a gap is open. */
#define lies(d, i) (disk[d].believed == i)
#ifdef ONE_MAY_LIE_ALONE
#define IF_WANTED(d, does) if :: wanted[d] -> does :: else fi
#else
#define IF_WANTED(d, does) does
#endif
#define LOOK_WHICH_LIE(i, none, failed) \
  atomic { \
    if \
    :: !answers -> failed \
    :: answers && !lies(0, i) && !lies(1, i) -> none \
    :: else -> ALL_OR_WANTED(i) \
    fi \
  }
#ifdef ONE_MAY_LIE_ALONE
#define ALL_OR_WANTED(i) wanted[0] = lies(0, i); wanted[1] = lies(1, i)
#else
#define ALL_OR_WANTED(i) assert(lies(0, i) && lies(1, i))
#endif

/* `hold`: suspend, wait until they are calm, pivot each, whatever becomes of the other */
#ifdef MUT_STOP_WITHOUT_NOTE
#define NOTE_STOP skip
#else
#define NOTE_STOP stopNoted = true
#endif
#ifdef MUT_NOT_SUSPENDED
#define SUSPEND(failed) skip
#else
#define SUSPEND(failed) \
  if \
  :: !stopped -> NOTE_STOP; KILLED; FOUND_OUT(true, stopped = true, skip, failed) \
  :: else \
  fi
#endif
#define HOLD(k, failed) \
  SUSPEND(failed); \
  PIVOT_DISK(0, k, broken = true); \
  PIVOT_DISK(1, k, broken = true); \
  atomic { if :: broken -> broken = false; failed :: else fi }
#define HOLD_FOLDS(k, failed) \
  SUSPEND(failed); \
  IF_WANTED(0, PIVOT_DISK(0, k, broken = true)); \
  IF_WANTED(1, PIVOT_DISK(1, k, broken = true)); \
  atomic { if :: broken -> broken = false; failed :: else fi }

#define WRITE_RECORD(k, failed) \
  FAULT(failed); \
  d_step { record[k] = true; printf("record %d is written\n", k) }; \
  KILLED

/* ---- files ---- */

#define REMOVE(d, i) \
  atomic { \
    d_step { \
      assert(!opened(d, i)); /* not what QEMU has open */ \
      content(d, i) = GONE; printf("disk %d: image %d is removed\n", d, i) \
    }; \
    KILLED \
  }

/* `foldOffline`, again after a crash as often as need be; an overlay that is gone was merged and removed. */
#define MERGE(d, from, to) \
  d_step { \
    if \
    :: content(d, from) > EMPTY -> content(d, to) = content(d, from); printf("disk %d: overlay merged offline\n", d) \
    :: else \
    fi \
  }; \
  KILLED

/* `refuseUnrecorded`: QEMU itself is asked, not libvirt. */
#ifdef MUT_BELIEVE_LIBVIRTD
#define REFUSE_UNRECORDED(failed) skip
#else
#define REFUSE_UNRECORDED(failed) \
  atomic { if :: !record[FOLDBACK] && (opened(0, SOV) || opened(1, SOV) || isSeenDead) -> failed :: else fi }
#endif
#ifdef GAP_DEAD_HAVE_NOTHING_OPEN
#define isSeenDead false
#else
#define isSeenDead !qemuLives
#endif

#ifdef FIX_ASK_QEMU_BEFORE_A_FOLD
#define REFUSE_UNSEEN(i, failed) \
  atomic { if :: !lies(0, i) && opened(0, i) || !lies(1, i) && opened(1, i) -> failed :: else fi }
#else
#define REFUSE_UNSEEN(i, failed) skip
#endif

#define INTEND(s) atomic { d_step { step[s] = INTENDED; printf("step %d\n", s) }; KILLED }
#define UNDO(s) atomic { d_step { step[s] = INTENDED; printf("undoing step %d\n", s) }; KILLED }
#define begun(s) (step[s] != UNBEGUN && !passed[s])

/* What may have to be mended by a person: that is what an `attention` that stays is for. */
#define strange(d) (disk[d].node != disk[d].believed || (disk[d].job != NO_JOB) != disk[d].known)

active proctype manager() {
  bool passed[6]; /* `failedUndo`: what could not be undone just now */
  bool broken;
#ifdef ONE_MAY_LIE_ALONE
  bool wanted[2];
#endif
  bool again; /* somebody has recovered since nothing fails any more */

  d_step {
    content(0, BASE) = NEW; content(0, SOV) = EMPTY; content(0, TOV) = EMPTY;
    content(1, BASE) = NEW; content(1, SOV) = EMPTY; content(1, TOV) = EMPTY
  }

  /* ---- Migration.takeOver, recoverOffline ---- */
start:
  atomic {
    attention = false;
    if
    :: !qemuLives -> goto offline
    :: forgotten -> goto died
    :: else
    fi
  }

  /* free-guest.ts; where it fails, that is only told */
  if
  :: (held(MIRROR) || stopNoted && jobs(MIRROR)) && !record[MIRROR] -> CANCEL_MIRRORS(goto next); goto freedMirrors
  :: (held(FOLD) || stopNoted && jobs(FOLD)) && !record[FOLD] -> CANCEL_FOLDS(goto next)
  :: (held(FOLDBACK) || stopNoted && jobs(FOLDBACK)) && !record[FOLDBACK] -> CANCEL_FOLDS_BACK(goto next)
  :: else
  fi;
  WAKE(goto next);
  goto next;
freedMirrors: skip;
  if
  :: step[PIVOT] != UNBEGUN && !record[MIRROR] -> back = true
  :: else
  fi;

  /* ---- Migration.run, nextStep ---- */
next:
  KILLED;
  if
  :: !qemuLives -> goto died
  :: qemuLives && !calm && !back && !record[MIRROR] -> back = true /* somebody aborts */
  :: qemuLives
  fi;
  if
  :: back && !record[MIRROR] ->
    if
    :: begun(PIVOT) -> goto undoPivot
    :: !begun(PIVOT) && begun(MIRRORS) -> goto undoMirrors
    :: !begun(PIVOT) && !begun(MIRRORS) && begun(COPY) -> goto undoCopy
    :: !begun(PIVOT) && !begun(MIRRORS) && !begun(COPY) && begun(SNAPSHOT) -> goto undoSnapshot
    :: else -> goto undoPrepare
    fi
  :: else ->
    if
    :: step[SNAPSHOT] != DONE -> goto doSnapshot
    :: step[SNAPSHOT] == DONE && step[COPY] != DONE -> goto doCopy
    :: step[COPY] == DONE && step[MIRRORS] != DONE -> goto doMirrors
    :: step[MIRRORS] == DONE && step[PIVOT] != DONE -> goto doPivot
    :: step[PIVOT] == DONE && step[FOLDS] != DONE -> goto doFold
    :: else -> goto doClean
    fi
  fi;

failed:
  if
  :: !qemuLives || record[MIRROR] -> goto died
  :: else -> back = true; goto next
  fi;

  /* ---- steps/snapshot.ts ---- */
doSnapshot: skip;
  INTEND(SNAPSHOT);
  if
  :: lies(0, SOV)
  :: else ->
    REFUSE_UNRECORDED(goto failed);
    CALL(disk[0].node == BASE, disk[0].node = SOV; disk[1].node = SOV, disk[0].believed = SOV; disk[1].believed = SOV, goto failed)
  fi;
  step[SNAPSHOT] = DONE;
  goto next;

undoSnapshot: skip;
  UNDO(SNAPSHOT);
  if
  :: record[FOLDBACK] -> WAKE(goto notFoldedBack)
  :: else ->
    CANCEL_FOLDS_BACK(goto notFoldedBack);
    REFUSE_UNSEEN(SOV, goto notFoldedBack);
    LOOK_WHICH_LIE(SOV, goto foldedBack, goto notFoldedBack);
    noted[FOLDBACK] = true;
    IF_WANTED(0, START(0, FOLDBACK, goto cancelFoldBack));
    IF_WANTED(1, START(1, FOLDBACK, goto cancelFoldBack));
    HOLD_FOLDS(FOLDBACK, goto cancelFoldBack);
#ifndef MUT_FOLD_BACK_WITHOUT_RECORD
    WRITE_RECORD(FOLDBACK, goto cancelFoldBack);
#endif
    WAKE(goto notFoldedBack)
  fi;
  noted[FOLDBACK] = false;
foldedBack: skip;
  REFUSE_UNRECORDED(goto notFoldedBack);
  step[SNAPSHOT] = UNBEGUN;
  goto next;
cancelFoldBack: skip;
  CANCEL_FOLDS_BACK(goto notFoldedBack);
notFoldedBack: skip;
#ifndef GAP_REMOVE_WHAT_TAKES_BACK
  /* A bound: the overlays stay while the VM is suspended for their fold. */
  if :: stopNoted -> goto died :: else fi;
#endif
  passed[SNAPSHOT] = true;
  goto next;

  /* ---- steps/copy.ts, verify.ts, attach.ts ---- */
doCopy: skip;
  INTEND(COPY);
  FAULT(goto failed);
  content(0, TBASE) = content(0, BASE); KILLED;
  content(1, TBASE) = content(1, BASE); KILLED;
  step[COPY] = DONE;
  goto next;

undoCopy: skip;
  UNDO(COPY);
  CANCEL_MIRRORS(goto notUncopied); /* `dropMirrors` */
  noted[MIRROR] = false;
  REMOVE(0, TBASE);
  REMOVE(1, TBASE);
  step[COPY] = UNBEGUN;
  goto next;
notUncopied: skip;
  passed[COPY] = true;
  goto next;

  /* ---- steps/mirror.ts ---- */
doMirrors: skip;
  INTEND(MIRRORS);
  noted[MIRROR] = true;
  if
  :: !runs(0, MIRROR) -> START(0, MIRROR, goto failed)
  :: else
  fi;
  if
  :: !runs(1, MIRROR) -> START(1, MIRROR, goto failed)
  :: else
  fi;
  step[MIRRORS] = DONE;
  goto next;

undoMirrors: skip;
  UNDO(MIRRORS);
  CANCEL_MIRRORS(goto notUnmirrored);
  noted[MIRROR] = false;
  step[MIRRORS] = UNBEGUN;
  goto next;
notUnmirrored: skip;
  passed[MIRRORS] = true;
  goto next;

  /* ---- steps/pivot.ts, pivot.ts ---- */
doPivot: skip;
  INTEND(PIVOT);
  if
  :: record[MIRROR] -> WAKE(goto failed)
  :: else ->
    atomic { if :: !runs(0, MIRROR) || !runs(1, MIRROR) -> goto failed :: else fi }; /* `checkMirrors` */
    FAULT(goto failed);
#ifdef MUT_RECORD_BEFORE_PIVOTS
    WRITE_RECORD(MIRROR, goto notPivoted);
#endif
    HOLD(MIRROR, goto notPivoted);
#ifdef MUT_WAKE_BEFORE_RECORD
    WAKE(goto notPivoted);
#endif
#ifndef MUT_RECORD_BEFORE_PIVOTS
    WRITE_RECORD(MIRROR, goto notPivoted);
#endif
    WAKE(goto failed)
  fi;
  atomic { if :: !answers || disk[0].believed != TOV || disk[1].believed != TOV -> goto failed :: else fi }; /* `settle`, `confirm` */
  noted[MIRROR] = false;
  step[PIVOT] = DONE;
  goto next;
notPivoted: skip;
  CANCEL_MIRRORS(goto failed);
  goto failed;

undoPivot: skip;
  UNDO(PIVOT);
  CANCEL_MIRRORS(goto notUnpivoted);
  noted[MIRROR] = false;
  step[PIVOT] = UNBEGUN;
  goto next;
notUnpivoted: skip;
  passed[PIVOT] = true;
  goto next;

  /* ---- steps/fold.ts, fold-group.ts ---- */
doFold: skip;
  INTEND(FOLDS);
  if
  :: record[FOLD] -> WAKE(goto died)
  :: else ->
    CANCEL_FOLDS(goto died);
    REFUSE_UNSEEN(TOV, goto died);
    LOOK_WHICH_LIE(TOV, goto folded, goto died);
    noted[FOLD] = true;
    IF_WANTED(0, START(0, FOLD, goto cancelFold));
    IF_WANTED(1, START(1, FOLD, goto cancelFold));
    HOLD_FOLDS(FOLD, goto cancelFold);
#ifndef MUT_FOLD_WITHOUT_RECORD
    WRITE_RECORD(FOLD, goto cancelFold);
#endif
    WAKE(goto died)
  fi;
  noted[FOLD] = false;
folded: skip;
  atomic { if :: !answers || disk[0].believed != TBASE || disk[1].believed != TBASE -> goto died :: else fi }; /* `confirm` */
  REMOVE(0, TOV);
  REMOVE(1, TOV);
  step[FOLDS] = DONE;
  goto next;
cancelFold: skip;
  CANCEL_FOLDS(goto died);
  goto died;

  /* ---- steps/clean.ts ---- */
doClean: skip;
  INTEND(CLEAN);
  REMOVE(0, BASE); REMOVE(0, SOV);
  REMOVE(1, BASE); REMOVE(1, SOV);
  goto doneAtTarget;

  /* ---- steps/prepare.ts ---- */
undoPrepare: skip;
  /* `refuseIfOpen`: by what libvirtd believes, then by QEMU */
  atomic { if :: !answers || disk[0].believed != BASE || disk[1].believed != BASE -> goto died :: else fi };
  REFUSE_UNRECORDED(goto died);
  REMOVE(0, SOV); REMOVE(0, TOV);
  REMOVE(1, SOV); REMOVE(1, TOV);
  if
  :: passed[PIVOT] || passed[MIRRORS] || passed[COPY] || passed[SNAPSHOT] -> goto died
  :: else -> goto doneAtSource
  fi;

  /* ---- the manager is dead, or has given up: somebody will recover ---- */
died: skip;
  d_step {
    passed[PIVOT] = false; passed[MIRRORS] = false; passed[COPY] = false; passed[SNAPSHOT] = false; broken = false;
    attention = true; printf("the manager dies or gives up\n")
  }
  if
  :: !calm -> progress: skip
  :: calm && !again -> again = true
  :: calm && again ->
    /* Nothing fails any more, and it was tried: then there is something that only a person can mend. */
    assert(!qemuLives || forgotten || strange(0) || strange(1));
    !qemuLives
  fi;
  goto start;

  /* ---- recover-offline.ts, offline-verdict.ts ---- */
offline: skip;
  printf("recovery offline\n");
  KILLED;
  if
  :: record[MIRROR] -> goto onTarget
  :: else
  fi;
  if
  :: step[SNAPSHOT] != UNBEGUN && !record[FOLDBACK] ->
    MERGE(0, SOV, BASE);
#ifndef MUT_FORGET_A_DISK
    MERGE(1, SOV, BASE);
#endif
    record[FOLDBACK] = true;
    KILLED
  :: else
  fi;
  REMOVE(0, SOV); REMOVE(0, TOV); REMOVE(0, TBASE);
  REMOVE(1, SOV); REMOVE(1, TOV); REMOVE(1, TBASE);
  goto doneAtSource;

onTarget: skip;
  if
#ifdef MUT_IGNORE_FOLD_RECORD
  :: true ->
#else
  :: !record[FOLD] ->
#endif
    MERGE(0, TOV, TBASE);
    MERGE(1, TOV, TBASE);
    record[FOLD] = true;
    KILLED
  :: else
  fi;
  REMOVE(0, TOV); REMOVE(1, TOV);
  REMOVE(0, BASE); REMOVE(0, SOV);
  REMOVE(1, BASE); REMOVE(1, SOV);
  goto doneAtTarget;

  /* ---- the end, and what must be so ---- */
doneAtSource: skip;
  d_step {
    assert(content(0, BASE) == NEW && content(1, BASE) == NEW);
    assert(content(0, SOV) == GONE && content(0, TOV) == GONE && content(0, TBASE) == GONE);
    assert(content(1, SOV) == GONE && content(1, TOV) == GONE && content(1, TBASE) == GONE);
    assert(!qemuLives || disk[0].node == BASE && disk[1].node == BASE);
    ended = true
  }
  goto free;

doneAtTarget: skip;
  d_step {
    assert(content(0, TBASE) == NEW && content(1, TBASE) == NEW);
    assert(content(0, TOV) == GONE && content(0, SOV) == GONE && content(0, BASE) == GONE);
    assert(content(1, TOV) == GONE && content(1, SOV) == GONE && content(1, BASE) == GONE);
    assert(!qemuLives || disk[0].node == TBASE && disk[1].node == TBASE);
    ended = true
  }
free:
  /* The guest is not left suspended, no job of ours is left, and libvirtd knows what is. */
  assert(!qemuLives || !stopped && !stopNoted && !strange(0) && !strange(1) && disk[0].job == NO_JOB && disk[1].job == NO_JOB)
}
