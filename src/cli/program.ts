import { Command, Option, type OptionValues } from '@commander-js/extra-typings';
import { parseMilliseconds, parseSize } from '../base/units.ts';
import type { Action, GlobalOptions } from './cli.ts';
import { addSnapshotCommands } from './snapshot/add-snapshot-commands.ts';
import { addXmlCommand } from './xml/add-xml-command.ts';

/** Runs what a command loads: nothing of a command is loaded before it is the one to run. */
export type Execute = (options: GlobalOptions, load: () => Promise<Action>) => Promise<void>;

/** The commands and options of `blockferry`. docs/cli.md is made from it. */
export function buildProgram(execute: Execute, version: string): Command {
  const program = new Command('blockferry')
    .description(
      'Moves the disks of a running QEMU/KVM virtual machine to another storage: all at one instant, nothing lost.',
    )
    .usage('COMMAND [options]')
    .version(version, '-V, --version', 'print the version')
    .option(
      '--state-dir <DIR>',
      'where the journal is; default: BLOCKFERRY_STATE_DIR, else /var/lib/blockferry for root, else the XDG state directory',
    )
    .option('--json', 'one JSON object per line on standard output, the last of type "result"')
    .option('--no-color', 'no colours, as with the environment variable NO_COLOR')
    .option('--debug', 'with an error, say where in the program it arose')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [COMMAND]', 'print help of a command')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: () => undefined })
    .exitOverride();

  program
    .command('discover')
    .description('List the QEMU virtual machines of this host, those of libvirt too, with their monitors and disks.')
    .addOption(connectOption())
    .action(({ connect }, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/discover.ts')).discover(connect)),
    );

  withMigrationOptions(program.command('plan'))
    .description('Show what `migrate` would do with the same options, or why it refuses. Touches nothing.')
    .action((vm, options, command) =>
      execute(command.optsWithGlobals(), async () =>
        (await import('./commands/plan.ts')).plan({ vm, ...options }, options),
      ),
    );

  withMigrationOptions(program.command('migrate'))
    .summary('Move the disks of a running VM to another storage.')
    .description(
      'Move the disks of a running VM to another storage. Shows the plan, asks, and stays in the foreground to the end. ' +
        'A migration of the same VM that somebody left unfinished is recovered first. ' +
        'Ctrl-C on a terminal asks what to do; without a terminal SIGINT, and always SIGTERM, mean: abort and roll back. ' +
        'SIGHUP means: leave the disks mirrored and stop driving. The swap itself is never interrupted.',
    )
    .option('-y, --yes', 'do not ask before it begins; needed where there is no terminal')
    .action((vm, options, command) =>
      execute(command.optsWithGlobals(), async () =>
        (await import('./commands/migrate.ts')).migrate({ vm, ...options }, options),
      ),
    );

  program
    .command('status')
    .summary('Show how a migration stands.')
    .description(
      'Show how a migration stands: out of the journal only, the VM is not asked. Without ID: all unfinished ones, snapshots too, and the migration that finished last.',
    )
    .argument('[ID]', 'the id of a migration, or the beginning of it')
    .action((id, _, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/status.ts')).status(id)),
    );

  program
    .command('list')
    .description('List all migrations in the journal.')
    .action((_, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/list.ts')).list()),
    );

  program
    .command('abort')
    .summary('Roll a migration back.')
    .description(
      'Roll a migration back: the process that drives it is asked to, and waited for; where nobody drives it, this one does it. ' +
        'After the swap it is too late.',
    )
    .argument('<ID>', ID)
    .option('--no-wait', 'do not wait until it is rolled back')
    .action((id, { wait }, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/abort.ts')).abort(id, { wait })),
    );

  program
    .command('pause')
    .description('Let the copying of a migration stand still. The guest goes on, with its disks mirrored.')
    .argument('<ID>', ID)
    .action((id, _, command) =>
      execute(command.optsWithGlobals(), async () =>
        (await import('./commands/control.ts')).ask(id, { command: 'pause' }),
      ),
    );

  program
    .command('resume')
    .summary('Go on with a migration that is paused, or that nobody drives.')
    .description(
      'Go on with a migration: with one that is paused, and, in the foreground, with one that nobody drives.',
    )
    .argument('<ID>', ID)
    .action((id, _, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/control.ts')).resume(id)),
    );

  program
    .command('recover')
    .summary('Bring migrations that nobody drives to an end, after a crash.')
    .description(
      'Bring a migration that nobody drives to one of its two ends; without ID, every one of this host, each in turn. ' +
        'A guest whose I/O is held is let go first. Where QEMU runs, the migration goes on, or back if it was going back; ' +
        'where QEMU is gone, the disks are brought to where the VM can be started from. What somebody drives is left alone. ' +
        'Without ID it is found out as well what became of snapshots whose taker died. The exit status is the worst of all.',
    )
    .argument('[ID]', ID)
    .option('--back', 'go back to the source where the disks have not been swapped yet')
    .action((id, options, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/recover.ts')).recover(id, options)),
    );

  program
    .command('gc')
    .summary('Show, and remove, files that finished migrations have left over.')
    .description(
      'Show the files that the ledgers of finished migrations know to be left over, and why each may go or stays. Never touched: ' +
        'a file that is not in a ledger, that is in use, that an unfinished migration has to do with, or that is not the one ' +
        'that the ledger speaks of.',
    )
    .option('-y, --yes', 'remove those that may go')
    .action((options, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./commands/gc.ts')).gc(options)),
    );

  program
    .command('set-speed')
    .description('Change the most that a migration copies and verifies in a second, while it runs.')
    .argument('<ID>', ID)
    .argument('<RATE>', 'bytes per second, as 500k, 100M or 1.5GiB; 0: no limit', parseSize)
    .action((id, bytesPerSecond, _, command) =>
      execute(command.optsWithGlobals(), async () =>
        (await import('./commands/control.ts')).ask(id, { command: 'set-speed', bytesPerSecond }),
      ),
    );

  addXmlCommand(program, execute);
  addSnapshotCommands(program, execute);

  return program;
}

const ID = 'the id of a migration, or the beginning of it';

// The return type is what extra-typings infers: to write it down would be to repeat every option.
function connectOption() {
  return new Option(
    '-c, --connect <URI>',
    'the libvirt that manages the VM, as for virsh; default: LIBVIRT_DEFAULT_URI, else qemu:///system',
  );
}

function withMigrationOptions<Own extends OptionValues, Global extends OptionValues>(
  command: Command<[], Own, Global>,
) {
  return command
    .argument('[VM]', 'the name or the UUID of a VM on this host')
    .option('--qmp <SOCKET>', 'the VM by its QMP socket instead: PATH or HOST:PORT')
    .addOption(connectOption())
    .option('--to <DIR>', 'the folder on the target storage')
    .addOption(
      new Option('--disk <ID[=DIR]>', 'move this disk, to a folder of its own; repeatable')
        .argParser((value: string, former: readonly string[]) => [...former, value])
        .default<readonly string[]>([], 'all that can be moved'),
    )
    .option('--bwlimit <RATE>', 'the most bytes per second to copy and verify, as 100M', parseSize)
    .option(
      '--max-hold <MS>',
      "the longest that the guest's I/O is held at a swap, in milliseconds: then the swap is given up and the guest goes on where it was; default 2000",
      parseMilliseconds,
    )
    .option('--keep-source', 'keep the source images, renamed so that nobody starts from them by mistake')
    .option(
      '--leave-link',
      'leave a symbolic link to the moved image at each old path, so that the start command of the VM finds it',
    )
    .option(
      '--slow-guest',
      'slow the guest down for the last stretch if it always writes faster than the target takes it (VMs of libvirt)',
    )
    .option('--no-fold', 'do not merge the overlay into the image below it at the end')
    .option(
      '--no-mirror-server',
      'mirror straight to the target, and not through the server that cuts the VM off from a target that hangs in the swap (VMs of libvirt never have one)',
    )
    .option('--no-verify', 'do not read the copies back and compare them');
}
