import { SNAPSHOT_USAGE } from '../../src/snapshots/index.ts';
import type { Random } from '../torture/random.ts';

/** What an option may be given: what is there, what is not, and what is wrong. */
const VALUES: Readonly<Record<string, readonly [string, ...string[]]>> = {
  domain: ['test', 'test', 'test', 'test', 'test', 'test', 'test', 'test', 'test', 'nope', '1', ''],
  xmlfile: [
    's2.xml',
    's2.xml',
    'new.xml',
    'disks.xml',
    'memory.xml',
    'slash.xml',
    'broken.xml',
    'other.xml',
    'nofile.xml',
    '',
  ],
  // Wrong ones are left out: they are a departure.
  xpath: [
    '//name',
    '/domainsnapshot/name/text()',
    'count(//disk)',
    '//nope',
    '//@type',
    '1=1',
    '//disk[1]|//name',
    '//*[@snapshot]',
  ],
  memspec: [
    '',
    'snapshot=no',
    'snapshot=internal',
    '/m',
    '/m,snapshot=external',
    'file=/m,snapshot=no',
    'bogus=1',
    ',',
    '/a,,b',
  ],
  // An empty one, and wrong values that virsh does not escape, are departures.
  diskspec: [
    'vda',
    'vda,snapshot=no',
    'vda,snapshot=internal',
    'vda,snapshot=bogus',
    'vda,file=/x',
    'vda,file=/a,,b',
    'vda,file=',
    'vda,driver=qcow2',
    'vda,stype=block,file=/dev/x',
    'vda,stype=bogus',
    'vda,bogus=1',
    'nope',
    '/guest.img',
  ],
  description: ['d', 'a <b> & "c"', '', "it's"],
};
const NAMES = ['s1', 's1', 's2', 's2', 's3', 'new', 'nope', '', 'a b', 'é'] as const;
/** blockferry's own. */
const OWN: ReadonlySet<string> = new Set(['mirrored', 'mirror-pivot', 'mirror-abort']);
/** How likely an option is, where it is not as likely as not. */
const CHANCES: Readonly<Record<string, number>> = { domain: 0.97, diskspec: 0.2, memspec: 0.2, xpath: 0.2 };
const STRAY = ['--bogus', '--', 'extra', '-x', '--name=', '--disk-only=1'] as const;

/** One command about snapshots with arguments that virsh takes, and now and then with others. */
export function randomCommand(random: Random): string[] {
  const [first, ...rest] = SNAPSHOT_USAGE;
  if (first === undefined) throw new Error('there are no commands');
  const { name: command, options } = random.pick([first, ...rest]);
  const argv = [command];
  for (const { name, type, onlyNamed = false } of options) {
    if (OWN.has(name) || !random.chance(type === 'flag' ? 0.12 : (CHANCES[name] ?? 0.6))) continue;
    if (type === 'flag') argv.push(`--${name}`);
    else argv.push(...given(random, name, random.pick(VALUES[name] ?? NAMES), onlyNamed));
  }
  if (random.chance(0.04)) argv.splice(1 + random.integer(argv.length), 0, random.pick(STRAY));
  if (random.chance(0.08) && argv.length > 2) {
    const [moved = ''] = argv.splice(1 + random.integer(argv.length - 1), 1);
    argv.splice(1 + random.integer(argv.length), 0, moved);
  }
  return departs(argv) ? randomCommand(random) : argv;
}

function given(random: Random, name: string, value: string, onlyNamed: boolean): string[] {
  const how = onlyNamed ? 'named' : random.pick(['alone', 'alone', 'alone', 'named', 'joined'] as const);
  if (how === 'alone') return [value];
  return how === 'named' ? [`--${name}`, value] : [`--${name}=${value}`];
}

/** Where blockferry does not do as virsh 9.0 does (docs/snapshots.md); and virsh 9.0 crashes of `snapshot-edit --current`. */
function departs(argv: readonly string[]): boolean {
  const has = (option: string): boolean => argv.includes(option);
  if (argv[0] === 'snapshot-edit') return has('--current');
  return argv[0] === 'snapshot-list' && has('--parent') && has('--name');
}
