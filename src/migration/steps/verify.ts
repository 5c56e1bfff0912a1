import { watched } from '../watch.ts';
import type { Step } from './step.ts';

/** Each copy is read back from the target's storage and compared with its source. */
export const verify: Step = {
  name: 'verify',

  look: () => Promise.resolve('open'),

  intend: () => undefined,

  async act(run) {
    for (const { source, target, disks } of run.plan.copies) {
      const { digest, compared } = await watched(run, (signal) =>
        run.host.verifyCopy({
          source: { path: source, blockDevice: false },
          target,
          control: run.control.copy,
          signal,
          onProgress: (done, total) => run.report({ phase: 'verify', key: target, disks, done, total }),
        }),
      );
      run.emit({ type: 'verified', target, bytes: compared, digest });
    }
  },

  confirm: () => Promise.resolve(),

  undo: () => Promise.resolve(),
};
