import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFerryError, run } from '../../base/index.ts';
import { DomainSnapshotError } from '../errors.ts';
import { parseSnapshot } from '../parse/snapshot.ts';
import { type SchemaMirror, withMirror } from './hunk.ts';
import { loadSnapshotSchema, SCHEMA_FOLDER, type SnapshotSchema } from './schema.ts';

const installed = existsSync(join(SCHEMA_FOLDER, 'domainsnapshot.rng'));

function disk(inner: string, attributes = ''): string {
  return `<domainsnapshot><name>s</name><disks><disk name='vda'${attributes}>${inner}</disk></disks></domainsnapshot>`;
}

/** Which of the two errors a folder gives. */
function errorOf(folder: string): string {
  try {
    loadSnapshotSchema({ folder });
  } catch (error) {
    if (isFerryError(error, 'SCHEMA_MISSING', 'SCHEMA_UNKNOWN')) return error.code;
    throw error;
  }
  return 'none';
}

const NBD = "<source protocol='nbd' name='e'><host name='h' port='10809'/></source>";

/** Which of the schemas takes a document. */
const VERDICTS: readonly (readonly [xml: string, none: boolean, file: boolean, typed: boolean])[] = [
  [disk("<source file='/a'/>"), true, true, true],
  [disk("<mirror file='/m'/>"), false, true, true],
  [disk("<mirror file='/m'/><driver type='qcow2'/><source file='/a'/>"), false, true, true],
  [disk("<source dev='/a'/><mirror file='/m'/>", " type='block'"), false, true, true],
  [disk("<mirror file='m'/>"), false, false, false],
  [disk('<mirror/>'), false, false, false],
  [disk("<mirror file='/m'>x</mirror>"), false, false, false],
  [disk("<mirror file='/m'/><mirror file='/n'/>"), false, false, false],
  [disk("<mirror file='/m'/>", " snapshot='no'"), false, false, false],
  [disk("<mirror file='/m'/>", " snapshot='internal'"), false, false, false],
  [disk("<mirror file='/m' format='qed'/>"), false, false, true],
  [disk("<mirror file='/m' format='raw'/>"), false, false, false],
  [disk("<mirror type='file'><source file='/m'/></mirror>"), false, false, true],
  [
    disk(
      "<mirror type='file' file='/m' format='qcow2' job='copy' ready='yes'><format type='qcow2'/><source file='/m'/></mirror>",
    ),
    false,
    false,
    true,
  ],
  [disk("<mirror type='block'><format type='qcow2'/><source dev='/m'/></mirror>"), false, false, true],
  [disk(`<mirror type='network'><format type='qcow2'/>${NBD}</mirror>`), false, false, true],
  [disk("<mirror type='file'/>"), false, false, false],
  [disk("<mirror><source file='/m'/></mirror>"), false, false, false],
  [disk("<mirror file='/m' ready='no'/>"), false, false, false],
  [disk(`${NBD}<driver type='qcow2'/>`, " type='network' snapshot='external'"), false, false, true],
  [disk(`${NBD}<mirror file='/m'/>`, " type='network' snapshot='external'"), false, false, true],
];

describe.skipIf(!installed)(
  `libvirt's schema (${installed ? SCHEMA_FOLDER : 'not installed: nothing was run'})`,
  () => {
    const schemas = new Map<SchemaMirror, SnapshotSchema>();
    let folder = '';

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'schema-'));
      for (const name of readdirSync(SCHEMA_FOLDER)) copyFileSync(join(SCHEMA_FOLDER, name), join(folder, name));
      for (const mirror of ['none', 'file', 'typed'] as const) schemas.set(mirror, loadSnapshotSchema({ mirror }));
    });
    afterAll(() => {
      for (const schema of schemas.values()) schema[Symbol.dispose]();
      rmSync(folder, { recursive: true });
    });

    test.each(VERDICTS)('%s', (xml, none, file, typed) => {
      const verdict = (mirror: SchemaMirror): boolean => schemas.get(mirror)?.problems(xml).length === 0;
      expect([verdict('none'), verdict('file'), verdict('typed')]).toEqual([none, file, typed]);
    });

    test.each(['none', 'file', 'typed'] as const)('xmllint says the same (%s)', async (mirror) => {
      const rng = withMirror(readFileSync(join(SCHEMA_FOLDER, 'domainsnapshot.rng'), 'utf8'), mirror) ?? '';
      writeFileSync(join(folder, `${mirror}.rng`), rng);
      const files = VERDICTS.map(([xml], place) => {
        const path = join(folder, `${place}.xml`);
        writeFileSync(path, xml);
        return path;
      });
      const args = ['--noout', '--relaxng', join(folder, `${mirror}.rng`), ...files];
      const { stderr } = await run('xmllint', args, { accept: [0, 3] });
      const valid = files.map((path) => stderr.includes(`${path} validates\n`));
      expect(valid).toEqual(VERDICTS.map(([xml]) => schemas.get(mirror)?.problems(xml).length === 0));
    });

    test('VALIDATE comes after the root test and before everything else', () => {
      const schema = loadSnapshotSchema();
      const parse = (xml: string) => () => parseSnapshot(xml, { flags: ['VALIDATE', 'REDEFINE'], schema });
      expect(parse('<x/>')).toThrow("expecting root element of 'domainsnapshot', not 'x'");
      expect(parse('<domainsnapshot><foo/></domainsnapshot>')).toThrow(
        `XML document failed to validate against schema: Unable to validate doc against ${SCHEMA_FOLDER}/domainsnapshot.rng\n`,
      );
      expect(parse('<domainsnapshot><foo/></domainsnapshot>')).toThrow(DomainSnapshotError);
      expect(parse('<domainsnapshot><name>s</name></domainsnapshot>')).toThrow('missing creationTime');
    });

    test("no schema, and one that is not libvirt's", () => {
      expect(errorOf('/nowhere')).toBe('SCHEMA_MISSING');
      const other = mkdtempSync(join(tmpdir(), 'schema-'));
      try {
        writeFileSync(join(other, 'domainsnapshot.rng'), '<grammar/>');
        expect(errorOf(other)).toBe('SCHEMA_UNKNOWN');
        // The right file without what it includes.
        copyFileSync(join(SCHEMA_FOLDER, 'domainsnapshot.rng'), join(other, 'domainsnapshot.rng'));
        expect(errorOf(other)).toBe('SCHEMA_UNKNOWN');
      } finally {
        rmSync(other, { recursive: true });
      }
    });

    test('a given folder', () => {
      expect(loadSnapshotSchema({ folder }).problems(disk("<mirror file='/m'/>"))).toEqual([]);
    });
  },
);
