import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { Command } from '@commander-js/extra-typings';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../base/index.ts';
import { Cli, type Surroundings } from '../cli.ts';
import { asFerryError, errorResult } from '../exit-status.ts';
import { Written } from '../testing/written.ts';
import { addXmlCommand } from './add-xml-command.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xml-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function blockferry(args: readonly string[], input = ''): Promise<Ended> {
  const [stdout, stderr] = [new Written(), new Written()];
  const stdin = new PassThrough();
  stdin.end(input);
  const surroundings = { stdin, stdout, stderr, env: {}, cwd: folder, clock: systemClock } as unknown as Surroundings;
  let status = -1;
  const program = new Command('blockferry').option('--json').option('--no-color').exitOverride();
  addXmlCommand(program, async (options, load) => {
    const cli = new Cli(options, surroundings);
    try {
      const result = await (await load())(cli);
      cli.renderer.result(result);
      status = result.exitStatus;
    } catch (error) {
      const failure = asFerryError(error);
      cli.renderer.error(failure, cli);
      cli.renderer.result(errorResult(failure));
      status = failure.exitStatus;
    }
  });
  await program.parseAsync(args, { from: 'user' });
  return { status, stdout: stdout.text, stderr: stderr.text };
}

const MIRROR =
  "<domainsnapshot><name>s</name><disks><disk name='vda'><mirror file='/m'/></disk></disks></domainsnapshot>";

describe('xml format', () => {
  test('prints what libvirt would', async () => {
    const { status, stdout } = await blockferry(['xml', 'format'], "<domainsnapshot><name>a'b</name></domainsnapshot>");
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^<domainsnapshot>\n {2}<name>a&apos;b<\/name>\n {2}<creationTime>\d+<\/creationTime>\n<\/domainsnapshot>\n$/,
    );
  });

  test('with the profile of 2012', async () => {
    const xml =
      "<domainsnapshot><name>s</name><state>disk-snapshot</state><creationTime>1</creationTime><disks><disk name='a'><source file='x'/></disk></disks></domainsnapshot>";
    const { stdout } = await blockferry(
      ['xml', 'format', '--profile', 'seed-2012', '--flags', 'REDEFINE,DISKS', '-'],
      xml,
    );
    expect(stdout).toContain("    <disk name='a' snapshot='external'>\n      <source file='x'/>\n    </disk>\n");
  });

  test('mirrors are refused where the flags do not say that they are known', async () => {
    const { status, stderr } = await blockferry(['xml', 'format', '--flags', '', write('m.xml', MIRROR)]);
    expect(status).toBe(3);
    expect(stderr).toContain("m.xml:1: argument unsupported: unable to handle mirroring for 'vda'");
  });

  test('errors for programs have code, number, line and element', async () => {
    const { stdout } = await blockferry([
      '--json',
      'xml',
      'format',
      write('bad.xml', '<domainsnapshot>\n<disks><disk/></disks></domainsnapshot>'),
    ]);
    const [error, result] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(error).toMatchObject({
      type: 'error',
      code: 'XML_REFUSED',
      exitStatus: 3,
      details: { code: 'VIR_ERR_INTERNAL_ERROR', number: 1, line: 2, element: '/domainsnapshot/disks/disk' },
    });
    expect(result).toMatchObject({ type: 'result', exitStatus: 3 });
  });

  test('files that are not there, and flags that are none', async () => {
    expect(await blockferry(['xml', 'format', 'gone.xml'])).toMatchObject({ status: 1, stdout: '' });
    const { status, stderr } = await blockferry(['xml', 'format', '--flags', 'REDFINE'], '');
    expect(status).toBe(2);
    expect(stderr).toContain("--flags: there is no flag 'REDFINE'");
  });
});

describe('xml validate', () => {
  test('without the schema, by the rules of the parser', async () => {
    write('good.xml', MIRROR);
    write('worse.xml', "<domainsnapshot>\n\n<memory file='x'/></domainsnapshot>");
    expect(await blockferry(['xml', 'validate', '--no-schema', 'good.xml'])).toMatchObject({
      status: 0,
      stdout: 'good.xml: valid\n',
    });
    const { status, stdout } = await blockferry(['xml', 'validate', '--no-schema', 'good.xml', 'worse.xml']);
    expect(status).toBe(3);
    expect(stdout).toBe('good.xml: valid\nworse.xml:3: XML error: memory snapshot file path (x) must be absolute\n');
  });

  test('a folder without schemas is an error of its own', async () => {
    const { status, stderr } = await blockferry(['xml', 'validate', '--schema-dir', folder], MIRROR);
    expect(status).toBe(1);
    expect(stderr).toContain(`${folder}/domainsnapshot.rng cannot be read: ENOENT`);
  });
});

describe('xml align', () => {
  test('generates names beside the files of this host', async () => {
    const image = join(folder, 'vda.qcow2');
    write('vda.qcow2', '');
    write(
      'domain.xml',
      `<domain type='kvm'><name>v</name><os><type>hvm</type></os><devices><disk type='file'><source file='${image}'/><target dev='vda'/></disk></devices></domain>`,
    );
    const { status, stdout } = await blockferry(['xml', 'align', '--domain', 'domain.xml'], MIRROR);
    expect(status).toBe(0);
    expect(stdout).toContain(`<source file='${folder}/vda.s'/>\n      <mirror file='/m'/>`);
    rmSync(image);
    const { stderr } = await blockferry(['xml', 'align', '--domain', 'domain.xml'], MIRROR);
    expect(stderr).toContain("source for disk 'vda' is not a regular file");
  });
});
