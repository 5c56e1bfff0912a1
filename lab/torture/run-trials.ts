import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../cache.ts';
import type { Answer, Order } from './worker.ts';

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url));

/** Where trials run, and how many side by side. */
export interface TrialsOptions extends Omit<Order, 'seed'> {
  readonly jobs: number;
  /** Called with each trial when it is over. */
  readonly onAnswer: (answer: Answer) => void;
}

/** Runs a trial for each seed, in processes of their own. A trial that fails does not end the others. */
export async function runTrials(seeds: Iterable<number>, options: TrialsOptions): Promise<void> {
  const { jobs, onAnswer, ...order } = options;
  const open = [...seeds].values();
  // As bin/blockferry does: processes that kill themselves start in half the time.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(cacheFolder(), 'compiled') };
  const job = async (): Promise<void> => {
    let worker: ChildProcess | undefined;
    for (const seed of open) {
      if (worker?.connected !== true) worker = fork(WORKER, { env });
      onAnswer(await ask(worker, { ...order, seed }));
    }
    worker?.disconnect();
  };
  await Promise.all(Array.from({ length: jobs }, job));
}

/** Runs a trial in a process, which answers or dies. */
async function ask(worker: ChildProcess, order: Order): Promise<Answer> {
  return await new Promise((resolve) => {
    const died = (): void => resolve({ seed: order.seed, failure: 'the process that ran it has died' });
    worker.once('exit', died);
    worker.once('message', (answer: Answer) => {
      worker.off('exit', died);
      resolve(answer);
    });
    worker.send(order);
  });
}
