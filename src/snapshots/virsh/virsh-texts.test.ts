import { describe, expect, test } from 'vitest';
import { readOptions } from './option-list.ts';
import { virshTable } from './table.ts';
import { treeLines } from './tree-lines.ts';
import { SNAPSHOT_USAGE } from './usage.ts';

function read(...[name = '', ...args]: readonly string[]): ReturnType<typeof readOptions> {
  const usage = SNAPSHOT_USAGE.find((each) => each.name === name);
  return readOptions(name, usage?.options ?? [], args);
}

describe('options', () => {
  // What virsh 9.0.0 says.
  test.each([
    [['snapshot-list', '--foo', 'test'], "command 'snapshot-list' doesn't support option --foo"],
    [['snapshot-list', '--from'], 'expected syntax: --from <string>'],
    [['snapshot-list', 'test', '--tree=1'], "invalid '=' after option --tree"],
    [['snapshot-list', 'test', '--tree', '--tree'], 'option --tree already seen'],
    [['snapshot-dumpxml', 'test'], "command 'snapshot-dumpxml' requires <snapshotname> option"],
    [['snapshot-list'], "command 'snapshot-list' requires <domain> option"],
    [['snapshot-parent', 'test', 'a', 'b'], "unexpected data 'b'"],
    [['snapshot-list', 'test', '-x', 'y'], "unexpected data 'y'"],
    [['snapshot-dumpxml', 'test', 's', '//name'], "unexpected data '//name'"],
  ])('%j', (argv, message) => {
    expect(() => read(...argv)).toThrow(message);
  });

  test('what stands alone fills the options in their order', () => {
    const options = read(
      'snapshot-create-as',
      'vm',
      '--memspec=/m',
      'n',
      '--atomic',
      'd',
      'vda',
      '--diskspec',
      'vdb',
      'vdc',
    );
    expect(options.required('domain')).toBe('vm');
    expect(options.text('name')).toBe('n');
    expect(options.text('description')).toBe('d');
    expect(options.text('memspec')).toBe('/m');
    expect(options.list('diskspec')).toEqual(['vda', 'vdb', 'vdc']);
    expect(options.has('atomic')).toBe(true);
    expect(options.has('halt')).toBe(false);
  });

  test('every option that is missing is told', () => {
    const error: unknown = expect.objectContaining({
      lines: [
        "command 'snapshot-dumpxml' requires <domain> option",
        "command 'snapshot-dumpxml' requires <snapshotname> option",
      ],
    });
    expect(() => read('snapshot-dumpxml')).toThrow(error);
  });

  test('after -- nothing is an option', () => {
    expect(read('snapshot-info', '--', 'vm', '--current').text('snapshotname')).toBe('--current');
  });

  test('an empty text is refused when it is read', () => {
    const options = read('snapshot-list', '', '--from=');
    expect(() => options.required('domain')).toThrow("Failed to get option 'domain': Option argument is empty");
    expect(() => options.text('from')).toThrow("Failed to get option 'from': Option argument is empty");
  });
});

describe('table', () => {
  test('columns are as wide as what is shown in them', () => {
    const rows = [
      ['über', 'x', ''],
      ['日本', 'y', 'p'],
      ['c\td', 'z', ''],
    ];
    expect(virshTable(['Name', 'N', 'Parent'], rows)).toBe(
      ` Name     N   Parent
----------------------
 über     x   
 日本     y   p
 c\\x09d   z   
`,
    );
  });
});

describe('tree', () => {
  test('is drawn with lines, and closed by a line of the indentation', () => {
    const nodes = [
      { name: 'a' },
      { name: 'b', parent: 'a' },
      { name: 'c', parent: 'b' },
      { name: 'd', parent: 'b' },
      { name: 'e', parent: 'a' },
      { name: 'f' },
    ];
    expect(treeLines(nodes)).toBe(
      `a
  |
  +- b
  |   |
  |   +- c
  |   +- d
  |     
  +- e
    
f

`,
    );
  });
});
