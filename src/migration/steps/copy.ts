import { Semaphore } from '../../base/index.ts';
import { anothersText } from '../run.ts';
import { watched } from '../watch.ts';
import type { Step } from './step.ts';

/** How many images are copied side by side: more do not make two storages faster, and they hurt the guest. */
const SIDE_BY_SIDE = 2;

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
    for (const { target } of open) await host.removeFile(target);
    const turn = new Semaphore(SIDE_BY_SIDE);
    await watched(run, async (signal) => {
      await allOrFirstError(
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
    });
  },

  confirm: () => Promise.resolve(),

  async undo(run) {
    const { plan, host, ledger } = run;
    // Only what the ledger has: a name that was taken by somebody else's file never got there.
    const targets = new Set(plan.copies.map(({ target }) => target));
    for (const target of ledger.live('file').filter((name) => targets.has(name))) {
      if (await ledger.isAnothers(target)) run.emit({ type: 'warning', message: anothersText(target) });
      else await host.removeFile(target);
      ledger.gone('file', target);
    }
  },
};

/** Waits for all of them even when one fails: none may still write when the rollback begins. */
async function allOrFirstError(tasks: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(tasks)) if (outcome.status === 'rejected') throw outcome.reason;
}
