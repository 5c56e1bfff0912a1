/*
 * The pivot of a migration, its folds, and recovery, as src/migration does them: two disks of one VM. README.md beside
 * this file says what is modelled, what is not, and how to run it. Everything that is not a comment about the model names
 * the function it stands for.
 *
 * MUT_... plants a bug that must be found. GAP_... lifts a bound of the model. FIX_... closes a gap. ONE_CASE: only the
 * migrations that fold, on a QEMU whose jobs see every write.
 */

/*
 * An image, seen at one block that may be any: no file, nothing of its own there (an overlay shows what is below), a write
 * older than the last acknowledged one, the last acknowledged write, or a write of a VM that was started from a stale image.
 */
#define GONE  0
#define EMPTY 1
#define OLD   2
#define NEW   3
#define FORK  4

/* The image a disk's guest reads and writes. */
#define BASE 0 /* the source's active image before the migration */
#define SOV  1 /* the overlay on the source */
#define TOV  2 /* its twin on the target */
#define TBASE 3 /* the copy of BASE on the target */

typedef Disk {
  byte image[4];
  unsigned node : 2;
  bool onTargetChain; /* what the target overlay stands on in QEMU: the source's images, or the target's */
  unsigned kind : 2; /* of its job */
  unsigned status : 3;
  bool missed; /* the job does not know of the last write */
}
Disk disk[2];

/* Jobs. `ready` is left out: only `pending` decides anything. */
#define MIRROR 0
#define FOLD 1 /* block-commit of the target overlay */
#define FOLDBACK 2 /* block-commit of the source overlay, in a rollback */

#define NO_JOB 0
#define RUNNING 1
#define PENDING 2 /* both sides are identical, the guest's I/O on the disk is held */
#define CONCLUDED 3
#define STARTING 4 /* before it has looked at what there is to copy */

bool qemuLives = true;
bool stopped; /* vCPUs stopped, by us */
bool missesWrites; /* QEMU >= 8.2: a job that is just starting does not see what the guest writes */

/* ---- the journal ---- */

/*
 * A commit record. UNSEEN: its commit failed, nobody alive sees it, but it is in the log's file and comes back when the
 * process dies, unless something was committed since. UNSYNCED: everybody sees it, but a loss of power may take it.
 */
#define NO 0
#define UNSEEN 1
#define UNSYNCED 2
#define YES 3

typedef Record { unsigned is : 2 }
Record record[3]; /* by the job's kind: MIRROR is `pivot`, then `fold`, `fold-back` */

#define stands(kind) (record[kind].is >= UNSYNCED)

/* Steps. */
#define SNAPSHOT 0
#define MIRRORS 1
#define COPY 2 /* with verify and attach */
#define PIVOT 3
#define FOLDS 4
#define CLEAN 5
#define UNBEGUN 0
#define INTENDED 1
#define DONE 2
#define UNDOING 3
#define UNDONE 4
byte step[6];

bool back; /* the goal */
bool stopNoted; /* `noteStop`: in the ledger */
bool mergeBegun; /* MERGE of recover-offline.ts */
bool foldBackNoted; /* the ledger has jobs that fold back: from then on the image changes by our own hand */
bool wantsFold; /* of the request: the chain is to be as deep as it was */
#ifdef FIX_TRUST_ONLY_BEGUN_JOBS
bool begunJobs; /* the ledger has the mirrors as made */
#endif

/* 0: unfinished. */
#define AT_SOURCE 1
#define AT_TARGET 2
#define REFUSED 3 /* STALE_START: both versions are kept */
byte ended;

/* A commit to the journal that succeeds makes durable what is in the log, and overwrites what had failed. */
#define commit(k) record[k].is = (record[k].is == UNSEEN -> NO : (record[k].is == UNSYNCED -> YES : record[k].is))
inline journaled() { commit(MIRROR); commit(FOLD); commit(FOLDBACK) }

/* ---- what nobody in the story can see ---- */
bool finalized[3]; /* some job of the present group was finalized */
bool calm; /* from here on nothing dies or fails */
bool away = true; /* nobody drives the migration */
bool changed; /* BASE was written to by somebody else since the snapshot */

/* ---- on the storages ---- */
bool nameless; /* `HiddenImages`: BASE has no name that a start command knows */
bool marked[3]; /* `makeMark`: the record of this kind does not count, whatever the journal says */

/* When the host may start the VM by itself: where the code says that it protects. */
#if defined(GAP_START_WHILE_FOLDING_BACK)
#define mayStart (!nameless && step[SNAPSHOT] == UNDOING && foldBackNoted && !stands(FOLDBACK))
#else
#define mayStart (!nameless && (!foldBackNoted || record[FOLDBACK].is == YES || content(0, SOV) == GONE))
#endif

/* ---- what QEMU does ---- */

#define overlayOf(kind) (kind == FOLD -> TOV : SOV)
#define sinkOf(kind) (kind == MIRROR -> TOV : (kind == FOLD -> TBASE : BASE))
#define content(d, i) disk[d].image[i]

/* What the guest's last write left behind: every image that has the block at all is older now, but one. */
inline written(d, to, value) {
  for (i : 0 .. 3) {
    if
    :: content(d, i) == NEW -> content(d, i) = OLD
    :: else
    fi
  }
  i = 0;
  content(d, to) = value;
  disk[d].missed = (disk[d].status == STARTING)
}

#define changesSomething(d) (content(d, disk[d].node) != NEW || \
  ((content(d, BASE) == NEW) + (content(d, SOV) == NEW) + (content(d, TOV) == NEW) + (content(d, TBASE) == NEW) > 1))
#define guestWrites(d) (qemuLives && !stopped && disk[d].status != PENDING && changesSomething(d))

/* A job brings what its overlay has to where it goes. */
#define behind(d) (!disk[d].missed && content(d, overlayOf(disk[d].kind)) != EMPTY && \
  content(d, overlayOf(disk[d].kind)) != content(d, sinkOf(disk[d].kind)))
inline bring(d) {
  if
  :: behind(d) -> content(d, sinkOf(disk[d].kind)) = content(d, overlayOf(disk[d].kind))
  :: else
  fi
}

active proctype qemu() {
  byte i;
  byte d;
end:
  do
  :: d_step { guestWrites(0) -> written(0, disk[0].node, NEW); printf("the guest writes to disk 0\n") }
  :: d_step { guestWrites(1) -> written(1, disk[1].node, NEW); printf("the guest writes to disk 1\n") }
  :: d_step { disk[0].status == RUNNING && behind(0) -> bring(0) }
  :: d_step { disk[1].status == RUNNING && behind(1) -> bring(1) }
  :: d_step { disk[0].status == STARTING -> disk[0].status = RUNNING }
  :: d_step { disk[1].status == STARTING -> disk[1].status = RUNNING }
  /* QEMU dies: jobs, open nodes and held requests with it. */
  :: d_step { qemuLives && !calm && ended == 0 ->
       printf("QEMU dies\n");
       qemuLives = false; stopped = false;
       for (d : 0 .. 1) { disk[d].status = NO_JOB; disk[d].kind = 0; disk[d].node = 0; disk[d].missed = false; disk[d].onTargetChain = false }
       finalized[MIRROR] = false; finalized[FOLD] = false; finalized[FOLDBACK] = false; d = 0
     }
  :: d_step { !calm -> calm = true }
  /* The host starts the VM by its own command, which names BASE; the guest writes, and the VM ends. */
  :: d_step { !qemuLives && !calm && ended == 0 && away && mayStart && content(0, BASE) != GONE && content(1, BASE) != GONE ->
       if
       :: !stands(MIRROR) && content(0, BASE) == NEW && content(1, BASE) == NEW -> written(0, BASE, NEW); written(1, BASE, NEW)
       :: else -> content(0, BASE) = FORK; content(1, BASE) = FORK
       fi;
       changed = true;
       printf("the host starts the VM from the source's images; it writes, and ends\n")
     }
  od
}

/* ---- the manager ---- */

/* Between any two effects, the manager may be killed. */
#define KILLED if :: !calm -> goto died :: true fi
/* A command to a QEMU that is gone: the step fails, its undoing fails as well, and the process ends. */
#define QMP if :: !qemuLives -> goto died :: else fi
/* What may fail without anybody's death. */
#define FAULT(label) if :: !calm -> goto label :: true fi

#define taken(kind) (kind == FOLD -> TOV : SOV)
#define swapped(kind) (kind == MIRROR -> TOV : (kind == FOLD -> TBASE : BASE))

/* `job-finalize`: a job that is gone or concluded had been finalized before (`finalizeJobs`). */
inline finalize(d, k) {
  d_step {
    if
    :: disk[d].status == PENDING && disk[d].kind == k ->
      /* QEMU would go on with the target's overlay on the source's images. */
      assert(k != MIRROR || disk[d].onTargetChain);
      disk[d].node = swapped(k); disk[d].status = CONCLUDED; finalized[k] = true;
      printf("job %d of disk %d is finalized\n", k, d)
    :: else
    fi
  }
}

/* `cancelJobs`, one command; concluded jobs are only dismissed. */
inline cancelOne(d, k) {
  d_step {
    if
    :: disk[d].kind == k && (disk[d].status == STARTING || disk[d].status == RUNNING || disk[d].status == PENDING) ->
      /* Nothing is cancelled after the first finalize. */
      assert(!finalized[k]);
      disk[d].status = NO_JOB; disk[d].kind = 0; disk[d].missed = false; disk[d].onTargetChain = false;
      printf("job %d of disk %d is cancelled\n", k, d)
    :: disk[d].kind == k && disk[d].status == CONCLUDED -> disk[d].status = NO_JOB; disk[d].kind = 0
    :: else
    fi
  }
}

/* `wakeVm`: only a stop of ours, told by the ledger. */
#define WAKE \
  if \
  :: stopNoted -> \
    atomic { QMP; stopped = false; KILLED }; \
    d_step { stopNoted = false; journaled() } \
  :: else \
  fi

/* `cancelGroup` */
#define CANCEL(k) \
  atomic { QMP; cancelOne(0, k); KILLED }; \
  atomic { QMP; cancelOne(1, k); KILLED }; \
  WAKE

#define SETTLE(k) \
  atomic { QMP; d_step { \
    if :: disk[0].kind == k && disk[0].status == CONCLUDED -> disk[0].status = NO_JOB; disk[0].kind = 0 :: else fi; \
    if :: disk[1].kind == k && disk[1].status == CONCLUDED -> disk[1].status = NO_JOB; disk[1].kind = 0 :: else fi; \
    finalized[k] = false } }

#define jobs(k) (disk[0].status != NO_JOB && disk[0].kind == k || disk[1].status != NO_JOB && disk[1].kind == k)
#define held(k) (disk[0].status == PENDING && disk[0].kind == k || disk[1].status == PENDING && disk[1].kind == k)
#ifdef MUT_CANCEL_AFTER_FINALIZE
#define FREE_FORWARD(k) false
#else
#define FREE_FORWARD(k) stands(k)
#endif
#ifdef MUT_WAKE_WITHOUT_CANCELLING
#define hasToGo(k) false
#else
#define hasToGo(k) (noted && !stands(k) && jobs(k))
#endif
/* One round of `freeGuest`. It may fail, and that is only told. */
#define FREE(k) \
  FAULT(next); \
  if \
  :: (held(k) || hasToGo(k)) && FREE_FORWARD(k) -> \
    atomic { QMP; finalize(0, k); KILLED }; \
    atomic { QMP; finalize(1, k); KILLED }; \
    WAKE; KILLED \
  :: (held(k) || hasToGo(k)) && !(FREE_FORWARD(k)) -> \
    CANCEL(k); KILLED; \
    if :: k == MIRROR -> goto freedMirrors :: else fi \
  :: else \
  fi

/* `hold`: jobs drain one by one. One that finds no moment gets it by stopping the processors, noted before. */
#ifdef MUT_STOP_WITHOUT_NOTE
#define NOTE_STOP skip
#else
#define NOTE_STOP d_step { stopNoted = true; journaled() }
#endif
#define HOLD(d, failed) \
  if \
  :: !stopped -> NOTE_STOP; KILLED; atomic { QMP; stopped = true; KILLED } \
  :: true \
  fi; \
  FAULT(failed); \
  atomic { QMP; \
    d_step { assert(disk[d].status == RUNNING); bring(d); disk[d].status = PENDING; printf("disk %d is held\n", d) }; \
    KILLED }

/* `record.write()`: durable when it returns; it may fail with nothing written, or with an outcome that nobody knows. */
#define WRITE_RECORD(k, failed) \
  if \
  :: record[k].is = UNSYNCED; KILLED; d_step { journaled(); printf("record %d is written\n", k) } \
  :: !calm -> goto failed \
  :: atomic { \
       d_step { !calm -> record[k].is = UNSEEN; printf("writing record %d fails, outcome unknown\n", k) }; KILLED \
     }; goto failed \
  fi; \
  KILLED

/* `record.revoke()`: where it fails, a mark on the storage says the same. */
#if defined(MUT_NO_REVOKE)
#define REVOKE(k) skip
#elif defined(GAP_MARK_FAILS)
#define REVOKE(k) \
  if \
  :: d_step { record[k].is = NO; journaled() } \
  :: !calm -> printf("revoking record %d fails, and so does the mark\n", k) \
  fi; \
  KILLED
#else
#define REVOKE(k) \
  if \
  :: d_step { record[k].is = NO; journaled() } \
  :: d_step { !calm -> marked[k] = true; printf("revoking record %d fails, a mark is made\n", k) } \
  fi; \
  KILLED
#endif

/* `heedMarks` */
#ifdef MUT_IGNORE_MARK
#define HEED(k) skip
#else
#define HEED(k) if :: marked[k] && stands(k) -> record[k].is = NO :: else fi
#endif
/* `removeMark`, before a record is written again */
#ifdef MUT_KEEP_MARK
#define UNMARK(k) skip
#else
#define UNMARK(k) marked[k] = false
#endif

/* `finishGroup`: `release`, `wakeVm`, `settle` */
#define RELEASE(k) \
  atomic { QMP; finalize(0, k); KILLED }; \
  atomic { QMP; finalize(1, k); KILLED }; \
  WAKE; KILLED; \
  SETTLE(k); KILLED

#define ATTACH atomic { QMP; d_step { disk[0].onTargetChain = true; disk[1].onTargetChain = true } }

/* `startMirrors`, `startFolds`: where a job that starts misses writes, the processors are stopped meanwhile, noted before. */
#define START_JOBS(k, first, second, failed) \
  if \
  :: missesWrites && !stopped -> NOTE_STOP; KILLED; atomic { QMP; stopped = true; KILLED } \
  :: else \
  fi; \
  START_JOB(0, k, first); \
  FAULT(failed); \
  START_JOB(1, k, second); \
  FAULT(failed); \
  atomic { QMP; d_step { BEGUN(0); BEGUN(1) }; KILLED }; \
  WAKE; KILLED

#define START_JOB(d, k, wanted) \
  atomic { QMP; if \
    :: wanted -> disk[d].kind = k; disk[d].missed = false; disk[d].status = (missesWrites -> STARTING : RUNNING) \
    :: else \
    fi }; KILLED

#define BEGUN(d) if :: disk[d].status == STARTING -> disk[d].status = RUNNING :: else fi

#define INTEND(s) atomic { d_step { step[s] = INTENDED; journaled(); printf("step %d\n", s) }; KILLED }
#define CONFIRMED(s) d_step { step[s] = DONE; journaled() }
#define UNDO(s) atomic { d_step { step[s] = UNDOING; journaled(); printf("undoing step %d\n", s) }; KILLED }
#define UNDID(s) d_step { step[s] = UNDONE; journaled() }
#define begun(s) (step[s] != UNBEGUN && step[s] != UNDONE)

#define REMOVE(d, i) \
  atomic { \
    d_step { assert(content(d, i) != FORK); content(d, i) = GONE; printf("disk %d: image %d is removed\n", d, i) }; \
    KILLED \
  }

/* `foldOffline`, again after a crash as often as need be; an overlay that is gone was merged and removed. */
#define MERGE(d, from, to) \
  d_step { \
    if \
    :: content(d, from) > EMPTY -> \
      /* Never into an image that a VM has gone on from. */ \
      assert(content(d, to) != FORK); content(d, to) = content(d, from); \
      printf("disk %d: overlay merged offline\n", d) \
    :: else \
    fi \
  }; \
  KILLED

/* `refuseStale`: by the stamps; where there are none yet, by the times of an overlay with data and of what is below it. */
#ifdef MUT_NO_STAMP
#define stampTells false
#else
#define stampTells (step[SNAPSHOT] == DONE || step[SNAPSHOT] == UNDOING && !foldBackNoted)
#endif
#ifdef MUT_NO_TIMES
#define timesTell false
#else
#define timesTell (step[SNAPSHOT] == INTENDED && (content(0, SOV) > EMPTY || content(1, SOV) > EMPTY))
#endif
#define stale (changed && (stampTells || timesTell))

active proctype manager() {
  bool atTarget;
  bool noted; /* the stop, as the ledger has it when somebody takes over */
  byte overlay; /* of the verdict */
#define DROP 0
#define KEEP 1
#define MERGING 2

  d_step {
    content(0, BASE) = NEW; content(0, SOV) = EMPTY; content(0, TOV) = EMPTY;
    content(1, BASE) = NEW; content(1, SOV) = EMPTY; content(1, TOV) = EMPTY
  }
#ifdef ONE_CASE
  wantsFold = true;
#else
  if :: wantsFold = true :: true fi;
  if :: missesWrites = true :: true fi;
#endif

  /* ---- Migration.takeOver, recoverOffline ---- */
start:
  atomic {
    away = false;
    if
    :: !qemuLives -> goto offline
    :: else
    fi
  }
#ifndef MUT_ACT_ON_UNSYNCED
  /* The event that tells of the take-over is a commit: what was read of the journal is durable before anything is done. */
  d_step { journaled() }
#endif
  d_step { HEED(MIRROR); HEED(FOLD); HEED(FOLDBACK) }

  /* free-guest.ts */
  atomic { QMP; noted = stopNoted };
  FREE(MIRROR);
  FREE(FOLD);
  FREE(FOLDBACK);
  WAKE;
  noted = false;
  goto next;
freedMirrors: skip;
  if
  :: step[PIVOT] != UNBEGUN && !back && !stands(MIRROR) -> d_step { back = true; journaled() }
  :: else
  fi;
  goto next;

  /* ---- Migration.run, nextStep ---- */
next:
  KILLED;
  if
  :: !calm && !back && !stands(MIRROR) -> /* somebody aborts */ d_step { back = true; journaled() }
  :: true
  fi;
  if
  :: back && !stands(MIRROR) ->
    if
    :: begun(PIVOT) -> goto undoPivot
    :: !begun(PIVOT) && begun(COPY) -> goto undoCopy
    :: !begun(PIVOT) && !begun(COPY) && begun(MIRRORS) -> goto undoMirrors
    :: !begun(PIVOT) && !begun(COPY) && !begun(MIRRORS) && begun(SNAPSHOT) -> goto undoSnapshot
    :: else -> goto undoPrepare
    fi
  :: else ->
    if
    :: step[SNAPSHOT] != DONE -> goto doSnapshot
    :: step[SNAPSHOT] == DONE && step[MIRRORS] != DONE -> goto doMirrors
    :: step[MIRRORS] == DONE && step[COPY] != DONE -> goto doCopy
    :: step[COPY] == DONE && step[PIVOT] != DONE -> goto doPivot
    :: step[PIVOT] == DONE && wantsFold && step[FOLDS] != DONE -> goto doFold
    :: step[PIVOT] == DONE && (!wantsFold || step[FOLDS] == DONE) && step[CLEAN] != DONE -> goto doClean
    :: else -> goto doneAtTarget
    fi
  fi;

failed:
  if
  :: back || stands(MIRROR) -> goto died /* `attention`: somebody will call `resume` */
#ifdef MUT_NEVER_TURN_BACK
  :: else -> goto died
#else
  :: else -> d_step { back = true; journaled() }; goto next
#endif
  fi;

  /* ---- steps/snapshot.ts ---- */
doSnapshot: skip;
  INTEND(SNAPSHOT);
  FAULT(failed);
  atomic { QMP; if :: disk[0].node == BASE -> d_step { disk[0].node = SOV; disk[1].node = SOV } :: else fi; KILLED };
  d_step { changed = false; step[SNAPSHOT] = DONE; journaled() }
  goto next;

undoSnapshot: skip;
  UNDO(SNAPSHOT);
  if
  :: stands(FOLDBACK) -> RELEASE(FOLDBACK)
  :: else ->
    CANCEL(FOLDBACK); KILLED;
    UNMARK(FOLDBACK); KILLED;
    atomic { QMP; if :: disk[0].node != SOV && disk[1].node != SOV -> goto foldedBack :: else fi };
    atomic { d_step { foldBackNoted = true; journaled() }; KILLED };
    START_JOBS(FOLDBACK, disk[0].node == SOV, disk[1].node == SOV, notStartedBack);
    HOLD(0, notFoldedBack);
    HOLD(1, notFoldedBack);
#ifndef MUT_FOLD_BACK_WITHOUT_RECORD
    WRITE_RECORD(FOLDBACK, noFoldBackRecord);
#endif
    RELEASE(FOLDBACK)
  fi;
foldedBack: skip;
  UNDID(SNAPSHOT);
  goto next;
notStartedBack: skip;
  WAKE;
  goto died;
noFoldBackRecord: skip;
  REVOKE(FOLDBACK);
notFoldedBack: skip;
  CANCEL(FOLDBACK);
  goto died;

  /* ---- steps/mirror.ts ---- */
doMirrors: skip;
  INTEND(MIRRORS);
#ifdef FIX_TRUST_ONLY_BEGUN_JOBS
  if :: begunJobs && !stopNoted -> goto mirrored :: else fi;
  CANCEL(MIRROR); KILLED;
#else
  atomic { QMP; if :: disk[0].status != NO_JOB && disk[1].status != NO_JOB -> goto mirrored :: else fi }; /* `look` */
#endif
  START_JOBS(MIRROR, disk[0].status == NO_JOB, disk[1].status == NO_JOB, notStarted);
#ifdef FIX_TRUST_ONLY_BEGUN_JOBS
  begunJobs = true;
#endif
mirrored: skip;
  CONFIRMED(MIRRORS);
  goto next;
notStarted: skip;
#if defined(GAP_KILLED_AFTER_A_FAILED_START)
  WAKE; KILLED;
  goto failed;
#else
  /* A bound: nobody is killed between the wake and the journal's `back`. */
  atomic { QMP; d_step { stopped = false; stopNoted = false; back = true; journaled() } };
  goto next;
#endif

undoMirrors: skip;
  UNDO(MIRRORS);
  CANCEL(MIRROR); KILLED;
  UNDID(MIRRORS);
  goto next;

  /* ---- steps/copy.ts, verify.ts, attach.ts ---- */
doCopy: skip;
  INTEND(COPY);
  FAULT(failed);
  content(0, TBASE) = content(0, BASE); KILLED;
  content(1, TBASE) = content(1, BASE); KILLED;
  CONFIRMED(COPY);
  goto next;

undoCopy: skip;
  UNDO(COPY);
  CANCEL(MIRROR); KILLED; /* `attach.undo` drops the mirrors first */
  REMOVE(0, TBASE);
  REMOVE(1, TBASE);
  UNDID(COPY);
  goto next;

  /* ---- steps/pivot.ts, pivot.ts ---- */
doPivot: skip;
  INTEND(PIVOT);
  if
  :: stands(MIRROR) ->
    RELEASE(MIRROR)
  :: else ->
    /* `checkMirrors`: somebody died while the group was held. Back. */
#ifdef MUT_WAIT_FOR_A_HELD_GROUP
    disk[0].status == RUNNING && disk[1].status == RUNNING || !qemuLives; KILLED;
#endif
    atomic { QMP; if :: disk[0].status != RUNNING || disk[1].status != RUNNING -> goto failed :: else fi };
    FAULT(failed);
    UNMARK(MIRROR); KILLED;
#ifdef MUT_RECORD_BEFORE_HOLD
    WRITE_RECORD(MIRROR, noPivotRecord);
#endif
    HOLD(0, notPivoted);
    HOLD(1, notPivoted);
    FAULT(notPivoted);
#ifndef MUT_NO_ATTACH
    ATTACH; KILLED;
#endif
#ifdef MUT_RECORD_AFTER_FIRST_FINALIZE
    atomic { QMP; finalize(0, MIRROR); KILLED };
#endif
#ifndef MUT_RECORD_BEFORE_HOLD
    WRITE_RECORD(MIRROR, noPivotRecord);
#endif
    RELEASE(MIRROR)
  fi;
  atomic { QMP; assert(disk[0].node == TOV && disk[1].node == TOV) } /* `confirm` */
  CONFIRMED(PIVOT);
  goto next;
noPivotRecord: skip;
  REVOKE(MIRROR);
notPivoted: skip;
  CANCEL(MIRROR); KILLED;
  goto failed;

undoPivot: skip;
  UNDO(PIVOT);
  CANCEL(MIRROR); KILLED;
  UNDID(PIVOT);
  goto next;

  /* ---- steps/fold.ts, fold-group.ts ---- */
doFold: skip;
  INTEND(FOLDS);
  if
  :: stands(FOLD) -> RELEASE(FOLD)
  :: else ->
    CANCEL(FOLD); KILLED;
    UNMARK(FOLD); KILLED;
    atomic { QMP; if :: disk[0].node != TOV && disk[1].node != TOV -> goto folded :: else fi };
    START_JOBS(FOLD, disk[0].node == TOV, disk[1].node == TOV, foldNotStarted);
    HOLD(0, notFolded);
    HOLD(1, notFolded);
#ifndef MUT_FOLD_WITHOUT_RECORD
    WRITE_RECORD(FOLD, noFoldRecord);
#endif
    RELEASE(FOLD)
  fi;
folded: skip;
  atomic { QMP; assert(disk[0].node == TBASE && disk[1].node == TBASE) } /* `confirm` */
  REMOVE(0, TOV);
  REMOVE(1, TOV);
  CONFIRMED(FOLDS);
  goto next;
foldNotStarted: skip;
  WAKE;
  goto died;
noFoldRecord: skip;
  REVOKE(FOLD);
notFolded: skip;
  CANCEL(FOLD);
  goto died;

  /* ---- steps/clean.ts ---- */
doClean: skip;
  INTEND(CLEAN);
  REMOVE(0, BASE); REMOVE(0, SOV);
  REMOVE(1, BASE); REMOVE(1, SOV);
  CONFIRMED(CLEAN);
  goto next;

  /* ---- steps/prepare.ts ---- */
undoPrepare: skip;
  atomic { QMP; assert(disk[0].node != SOV && disk[1].node != SOV) } /* `refuseIfOpen` */
  REMOVE(0, SOV); REMOVE(0, TOV);
  REMOVE(1, SOV); REMOVE(1, TOV);
  goto doneAtSource;

  /* ---- the manager is dead: what was not seen may come back, and a loss of power takes what was not synced ---- */
died: skip;
  d_step {
    if :: record[MIRROR].is == UNSEEN -> record[MIRROR].is = UNSYNCED :: else fi;
    if :: record[FOLD].is == UNSEEN -> record[FOLD].is = UNSYNCED :: else fi;
    if :: record[FOLDBACK].is == UNSEEN -> record[FOLDBACK].is = UNSYNCED :: else fi;
    atTarget = false; overlay = DROP; away = true; printf("the manager dies or gives up\n")
  }
  if
  :: !calm -> progress: skip
  :: else /* nobody is killed and nothing fails any more: this may not go on for ever */
  fi;
  if
  :: !calm && !qemuLives -> d_step { printf("power is lost\n");
       if :: record[MIRROR].is == UNSYNCED -> record[MIRROR].is = NO :: else fi;
       if :: record[FOLD].is == UNSYNCED -> record[FOLD].is = NO :: else fi;
       if :: record[FOLDBACK].is == UNSYNCED -> record[FOLDBACK].is = NO :: else fi
     }
  :: true
  fi;
  goto start;

  /* ---- recover-offline.ts, offline-verdict.ts ---- */
offline: skip;
#ifndef MUT_ACT_ON_UNSYNCED
  d_step { journaled() }
#endif
  d_step { HEED(MIRROR); HEED(FOLD); HEED(FOLDBACK) }
  KILLED;
  d_step { UNMARK(MIRROR); UNMARK(FOLD); UNMARK(FOLDBACK) }
  d_step {
    atTarget = stands(MIRROR);
    if
#ifdef MUT_IGNORE_FOLD_BACK_RECORD
    :: !atTarget && begun(SNAPSHOT) -> overlay = MERGING
#else
    :: !atTarget && begun(SNAPSHOT) && !stands(FOLDBACK) -> overlay = MERGING
#endif
#ifdef MUT_IGNORE_FOLD_RECORD
    :: atTarget -> overlay = (wantsFold -> MERGING : KEEP)
#else
    :: atTarget && !stands(FOLD) -> overlay = (wantsFold -> MERGING : KEEP)
#endif
    :: else -> overlay = DROP
    fi;
  printf("recovery offline: at target %d, overlay %d, snapshot's step %d\n", atTarget, overlay, step[SNAPSHOT])
  }
  KILLED;
  if
  :: atTarget -> goto onTarget
  :: else -> atomic { d_step { back = true; journaled() }; KILLED }
  fi;

  /* backAtSource */
  if
  :: overlay == MERGING ->
#ifndef MUT_NO_HIDE
    nameless = true;
    KILLED;
#endif
    if
    :: !mergeBegun && stale -> nameless = false; goto refused
    :: else
    fi;
    d_step { mergeBegun = true; journaled() }
    KILLED;
    MERGE(0, SOV, BASE);
#ifndef MUT_FORGET_A_DISK
    MERGE(1, SOV, BASE);
#endif
#ifndef MUT_OFFLINE_WITHOUT_RECORD
    WRITE_RECORD(FOLDBACK, died)
#endif
  :: else
  fi;
  nameless = false;
  KILLED;
  REMOVE(0, SOV); REMOVE(0, TOV);
  REMOVE(1, SOV); REMOVE(1, TOV);
  REMOVE(0, TBASE);
  REMOVE(1, TBASE);
  goto doneAtSource;

onTarget: skip;
  if
  :: overlay == MERGING ->
#ifdef MUT_OFFLINE_RECORD_FIRST
    WRITE_RECORD(FOLD, died);
#endif
    MERGE(0, TOV, TBASE);
    MERGE(1, TOV, TBASE);
#ifndef MUT_OFFLINE_RECORD_FIRST
    WRITE_RECORD(FOLD, died)
#endif
  :: else
  fi;
  if
  :: overlay != KEEP -> REMOVE(0, TOV); REMOVE(1, TOV)
  :: else
  fi;
#ifndef MUT_NOTHING_SPARED
  /* `sourcesInUse` */
  if
  :: changed -> goto doneAtTarget
  :: else
  fi;
#endif
  REMOVE(0, BASE); REMOVE(0, SOV);
  REMOVE(1, BASE); REMOVE(1, SOV);
  goto doneAtTarget;

  /* ---- the end, and what must be so ---- */
refused: skip;
  d_step {
    ended = REFUSED;
    assert(content(0, SOV) != GONE && content(1, SOV) != GONE);
    assert(content(0, BASE) != GONE && content(1, BASE) != GONE)
  }
  goto over;

doneAtSource: skip;
  d_step {
    assert(content(0, BASE) == NEW && content(1, BASE) == NEW);
    assert(content(0, SOV) == GONE && content(0, TOV) == GONE && content(0, TBASE) == GONE);
    assert(content(1, SOV) == GONE && content(1, TOV) == GONE && content(1, TBASE) == GONE);
    assert(!qemuLives || (disk[0].node == BASE && disk[1].node == BASE));
    ended = AT_SOURCE
  }
  goto free;

#define newest(d) (content(d, TOV) > EMPTY -> content(d, TOV) : content(d, TBASE))
doneAtTarget: skip;
  d_step {
    assert(newest(0) == NEW && newest(1) == NEW);
    assert(content(0, TBASE) != GONE && content(1, TBASE) != GONE);
    assert((content(0, TOV) == GONE) == wantsFold && (content(1, TOV) == GONE) == wantsFold);
    assert(changed || content(0, BASE) == GONE && content(0, SOV) == GONE);
    assert(changed || content(1, BASE) == GONE && content(1, SOV) == GONE);
    assert(!qemuLives || (disk[0].node == (wantsFold -> TBASE : TOV) && disk[1].node == disk[0].node));
    ended = AT_TARGET
  }
free:
  /* The guest is not left held or stopped, and no job of ours is left. */
  assert(disk[0].status == NO_JOB && disk[1].status == NO_JOB && !stopped && !stopNoted || !qemuLives);
over:
  skip
}
