import { type Command, Option, type OptionValues } from '@commander-js/extra-typings';
import type { GlobalOptions } from '../cli.ts';
import type { Execute } from '../program.ts';

/** Every word of a list with commas. The words are checked where they are used, by the library that knows them. */
function words(text: string): readonly string[] {
  return text.split(',').filter((word) => word !== '');
}

const FILE = 'documents; `-` or none: standard input';

function flagsOption(): Option<'--flags <LIST>', undefined, readonly string[], readonly string[]> {
  return new Option('--flags <LIST>', "libvirt's parse flags: REDEFINE, INTERNAL, OFFLINE, MIRROR, TYPED_MIRROR, DISKS")
    .argParser(words)
    .default(['MIRROR'], 'MIRROR') as Option<'--flags <LIST>', undefined, readonly string[], readonly string[]>;
}

function profileOption(): Option<'--profile <NAME>', undefined, 'modern', undefined, false, 'modern' | 'seed-2012'> {
  return new Option('--profile <NAME>', 'whose rules: libvirt 11.3 with mirrors, or the patch of 2012')
    .choices(['modern', 'seed-2012'] as const)
    .default('modern' as const);
}

/**
 * Adds `blockferry xml`: what the library `blockferry/domainsnapshot` does, on files. The library, and libxml2 with it, is
 * loaded only when one of the commands runs.
 */
export function addXmlCommand<Own extends OptionValues & GlobalOptions>(
  program: Command<[], Own>,
  execute: Execute,
): void {
  const xml = program
    .command('xml')
    .summary('Check and rewrite <domainsnapshot> documents.')
    .description(
      "Check and rewrite libvirt's <domainsnapshot> documents, with mirrors. Needs no hypervisor. Errors have libvirt's code and words.",
    )
    .helpCommand(false);

  xml
    .command('validate')
    .summary("Check documents against libvirt's schema and rules.")
    .description(
      "Check documents against libvirt's RELAX NG schema, with mirrors put in, and then by the rules of its parser.",
    )
    .argument('[FILE...]', FILE)
    .addOption(flagsOption())
    .addOption(profileOption())
    .option('--schema-dir <DIR>', "folder of libvirt's schemas; default: where libvirt installs them")
    .option('--no-schema', 'the rules of the parser only')
    .action((files, options, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./validate.ts')).validate(files, options)),
    );

  xml
    .command('format')
    .summary('Print documents as libvirt would.')
    .description('Read documents and print them byte for byte as libvirt would.')
    .argument('[FILE...]', FILE)
    .addOption(flagsOption())
    .addOption(profileOption())
    .option('--format-flags <LIST>', "libvirt's format flags: SECURE, INTERNAL, CURRENT", words)
    .option('--uuid <UUID>', 'uuid of the domain, for a snapshot without a full domain')
    .action((files, options, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./format.ts')).format(files, options)),
    );

  xml
    .command('align')
    .summary("Make a snapshot's disks those of its domain.")
    .description(
      "Make a snapshot's disks those of its domain: locations, and names beside the files that are on this host. Prints the snapshot.",
    )
    .argument('[FILE]', 'document; `-` or none: standard input')
    .addOption(flagsOption())
    .addOption(profileOption())
    .option('--domain <FILE>', 'the <domain>; default: the one in the document')
    .addOption(
      new Option('--default-location <WHERE>', 'for disks that say nothing')
        .choices(['no', 'internal', 'external', 'manual'] as const)
        .default('external' as const),
    )
    .option('--uniform-internal', 'with an internal default, refuse disks that are not')
    .option('--force-default', "do not look at the domain's own settings of disks that are not named")
    .action((file, options, command) =>
      execute(command.optsWithGlobals(), async () => (await import('./align.ts')).align(file, options)),
    );
}
