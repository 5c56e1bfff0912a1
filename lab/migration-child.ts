/**
 * A process that drives a migration, for tests of what happens when it dies: started by `MigrationProcess`. Its only
 * argument is a `ChildOrder` as JSON; it prints a line of JSON for each event and for the outcome.
 */
import { writeSync } from 'node:fs';
import { Journal } from '../src/journal/index.ts';
import { Migration, type StepName } from '../src/migration/index.ts';
import { STEP, type StepTable } from '../src/migration/steps/index.ts';
import type { Step } from '../src/migration/steps/step.ts';
import { loadLibvirt, QemuVm, type VirtualMachine } from '../src/vm/index.ts';
import { migrate } from './engine.ts';
import type { ChildOrder, Death } from './migration-process.ts';

type Run = Parameters<Step['act']>[0];

const say = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`);

/** SIGKILL: no handler, no clean-up, nothing said. */
async function die(): Promise<never> {
  process.kill(process.pid, 'SIGKILL');
  return await new Promise<never>(() => undefined);
}

/** The VM, but for one method that is the last thing this process does, or nearly does. */
function mortal(vm: VirtualMachine, { when }: Death): VirtualMachine {
  const last: Partial<VirtualMachine> = {
    ...(when === 'half held' && { hold: (jobs, limit, stop) => vm.hold(jobs.slice(0, 1), limit, stop).then(die) }),
    ...(when === 'held' && { hold: (jobs, limit, stop) => vm.hold(jobs, limit, stop).then(die) }),
    ...(when === 'attached' && { attach: (chains) => vm.attach(chains).then(die) }),
    ...(when === 'recorded' && { release: die }),
    ...(when === 'half released' && { release: (jobs) => vm.release(jobs.slice(0, 1)).then(die) }),
    ...(when === 'released' && {
      release: async (jobs) => {
        await vm.release(jobs);
        // What lets a VM of libvirt go on.
        if (domain) await vm.wake();
        await die();
      },
    }),
  };
  return new Proxy(vm, {
    get: (target, name) => {
      const value: unknown = Reflect.get(last, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function steps(death: Death): StepTable {
  const step = STEP[death.step];
  const way = death.undoing ? 'undo' : 'act';
  const fatal = async (run: Run): Promise<void> => {
    if (death.when === 'before') await die();
    await step[way]({ ...run, vm: mortal(run.vm, death) });
    if (death.when === 'after') await die();
  };
  return { ...STEP, [death.step satisfies StepName]: { ...step, [way]: fatal } };
}

const order = JSON.parse(process.argv[2] ?? '{}') as ChildOrder;
const { qmpPath, domain, stateDir, request = {}, death, takeOver, abort } = order;
const connect = async (): Promise<VirtualMachine> =>
  domain
    ? await (await loadLibvirt()).LibvirtVm.connect(domain.uri, domain.name)
    : await QemuVm.connect({ path: qmpPath });
const table = death ? { steps: steps(death) } : {};
if (takeOver === undefined) {
  const { outcome } = await migrate(
    { qmpPath },
    { stateDir, request, ...table, connect, watch: ({ plan }, event) => say({ id: plan.id, event: event ?? null }) },
  );
  say({ outcome });
} else {
  await using vm = await connect();
  using journal = Journal.open(stateDir);
  const onEvent = (event: object): void => say({ id: takeOver, event });
  await using migration = await Migration.takeOver(takeOver, { vm, journal, onEvent, ...table });
  if (abort) migration.control.abort();
  say({ outcome: await migration.run() });
}
