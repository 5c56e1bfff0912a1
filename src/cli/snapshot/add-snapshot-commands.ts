import type { Command, OptionValues } from '@commander-js/extra-typings';
import type { GlobalOptions } from '../cli.ts';
import type { Execute } from '../program.ts';
import { SNAPSHOT_USAGE, usageLines } from '../../snapshots/virsh/usage.ts';

/**
 * Adds virsh's commands about snapshots. Their arguments are read as virsh reads them, by the library, so commander passes
 * them on; the library is loaded only when one of them runs.
 */
export function addSnapshotCommands<Own extends OptionValues & GlobalOptions>(
  program: Command<[], Own>,
  execute: Execute,
): void {
  for (const usage of SNAPSHOT_USAGE) {
    const { name, summary } = usage;
    program
      .command(name)
      .summary(summary)
      .description(`${summary} As virsh's command of this name; it exits with 0 or 1, as virsh does.`)
      .usage('VM [options]')
      .argument('[ARGUMENT...]')
      .allowUnknownOption()
      .option('--qmp <SOCKET>', 'the VM by its QMP socket: PATH or HOST:PORT')
      .option('-c, --connect <URI>', 'the VMs of this libvirtd, as qemu:///system; default: LIBVIRT_DEFAULT_URI')
      .addHelpText('after', usageLines(usage))
      .action((args, options, command) =>
        execute(command.optsWithGlobals(), async () =>
          (await import('./run-snapshot-command.ts')).snapshotCommand([name, ...args], options),
        ),
      );
  }
}
