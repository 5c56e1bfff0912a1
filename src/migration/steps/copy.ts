import { Semaphore } from '../../base/index.ts';
import { removeFromTarget } from '../target-files.ts';
import { untilAnswering, whatHangs } from '../storage-answers.ts';
import { watched } from '../watch.ts';
import type { Run } from '../run.ts';
import { dropMirrors } from './mirror.ts';
import type { Step } from './step.ts';

/** How many images are copied side by side: more do not make two storages faster, and they hurt the guest. */
const SIDE_BY_SIDE = 2;

/** What a copy that was stopped may take to end before its target is asked whether it answers, in milliseconds. */
const GRACE_MS = 3000;

/** Each immutable image of the chains goes to the target, once, beside the running guest. */
export const copy: Step = {
  name: 'copy',

  look({ plan, ledger }) {
    const open = plan.copies.some(({ target }) => !ledger.isMade('file', target));
    return Promise.resolve(open ? 'open' : 'done');
  },

  intend({ plan, ledger }) {
    for (const { target, disks } of plan.copies) ledger.plan('file', target, 'copy', disks[0]);
  },

  async act(run) {
    const { plan, host, ledger } = run;
    // An image is recorded as made when it is whole and synced; what an interrupted copy left is written anew. The
    // ledger's entry was durable before the file was made, so a file of that name is ours.
    const open = plan.copies.filter(({ target }) => !ledger.isMade('file', target));
    await untilAnswering(run, 'target');
    for (const { target } of open) await host.removeFile(target);
    const turn = new Semaphore(SIDE_BY_SIDE);
    await watched(run, async (signal) => {
      const copies = allOrFirstError(
        open.map(({ source, target, owner, disks }) =>
          turn.run(async () => {
            await host.copyImage(
              { source: { path: source }, target, owner, frozenBy: [run.vm.identity.pid] },
              {
                control: run.control.copy,
                signal,
                onProgress: ({ copied, total }) => {
                  run.report({ phase: 'copy', key: target, disks, done: copied, total });
                },
              },
            );
            await ledger.madeFiles(target);
          }),
        ),
      );
      const over = new AbortController();
      try {
        await Promise.race([copies, abandoned(run, signal, over.signal)]);
      } finally {
        over.abort();
      }
    });
  },

  confirm: () => Promise.resolve(),

  async undo(run) {
    // Only what the ledger has: a name that was taken by somebody else's file never got there.
    const targets = new Set(run.plan.copies.map(({ target }) => target));
    // Without its mirrors nothing of the VM is on a target that hangs, and the files can be left to it.
    if ((await whatHangs(run, 'target')) !== undefined) await dropMirrors(run);
    await removeFromTarget(
      run,
      run.ledger.live('file').filter((name) => targets.has(name)),
    );
  },
};

/**
 * Rejects when the copies have been stopped and their target does not answer: what they have asked of it comes back when it
 * does, and not before. They remove then what they have made.
 */
async function abandoned(run: Run, signal: AbortSignal, over: AbortSignal): Promise<never> {
  await new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', resolve, { once: true });
  });
  do await run.clock.sleep(GRACE_MS);
  while (!over.aborted && (await whatHangs(run, 'target')) === undefined);
  throw signal.reason;
}

/** Waits for all of them even when one fails: none may still write when the rollback begins. */
async function allOrFirstError(tasks: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(tasks)) if (outcome.status === 'rejected') throw outcome.reason;
}
