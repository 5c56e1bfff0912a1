import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { askOwner, Journal, MigrationOwner, ownerPid } from './index.ts';

let dir: string;
let children: Child[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-processes-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) await child.kill();
  rmSync(dir, { recursive: true });
});

/** Another process that runs a script with the journal's exports at hand, and tells lines. */
class Child {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  /** What was said and not read yet; at the end, undefined for ever. */
  readonly #said: (string | undefined)[] = [];
  #notify: () => void = () => undefined;
  readonly #exit: Promise<unknown>;

  constructor(script: string) {
    const head = `import { writeSync } from 'node:fs';
      import { askOwner, Journal, MigrationOwner } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
      const dir = ${JSON.stringify(dir)};
      const say = (what) => writeSync(1, what + '\\n');
      const heard = () => new Promise((resolve) => process.stdin.once('data', resolve));\n`;
    this.#process = spawn(process.execPath, ['--input-type=module', '-e', head + script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#exit = once(this.#process, 'exit');
    const say = (line: string | undefined): void => {
      this.#said.push(line);
      this.#notify();
    };
    createInterface(this.#process.stdout)
      .on('line', say)
      .on('close', () => say(undefined));
    children.push(this);
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  /** The next line; undefined after the last one. */
  async line(): Promise<string | undefined> {
    if (this.#said.length === 0) await new Promise<void>((resolve) => void (this.#notify = resolve));
    return this.#said[0] === undefined ? undefined : this.#said.shift();
  }

  /** What it says until its end. */
  async rest(): Promise<string[]> {
    const lines: string[] = [];
    for (let line = await this.line(); line !== undefined; line = await this.line()) lines.push(line);
    return lines;
  }

  tell(): void {
    this.#process.stdin.write('go\n');
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exit;
  }
}

function addMigration(id = 'm1'): void {
  using journal = Journal.open(dir);
  const vm = { name: id, uuid: '', process: `boot/${id}/1`, address: '/q', host: 'h' };
  journal.addMigration({ id, vm, plan: null, options: null });
}

describe('several processes', () => {
  test('create the journal at once, and each adds its row', async () => {
    const all = Array.from(
      { length: 6 },
      (_, i) =>
        new Child(`say('ready'); await heard();
          const journal = Journal.open(dir);
          const vm = { name: 'v', uuid: '', process: 'boot/${i}/1', address: '/q', host: 'h' };
          journal.addMigration({ id: 'm${i}', vm, plan: null, options: null });
          say('added'); process.exit(0);`),
    );
    for (const child of all) expect(await child.line()).toBe('ready');
    for (const child of all) child.tell();
    for (const child of all) expect(await child.rest()).toEqual(['added']);
    using journal = Journal.open(dir, { readOnly: true });
    expect(
      journal
        .migrations()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'm5']);
  });

  test('of which each wants a migration of the same VM: one gets it', async () => {
    const all = Array.from(
      { length: 4 },
      (_, i) =>
        new Child(`const journal = Journal.open(dir); say('ready'); await heard();
          const vm = { name: 'v', uuid: '', process: 'boot/1/1', address: '/q', host: 'h' };
          try { journal.addMigration({ id: 'm${i}', vm, plan: null, options: null }); say('added'); }
          catch (error) { say(error.code); }
          process.exit(0);`),
    );
    for (const child of all) expect(await child.line()).toBe('ready');
    for (const child of all) child.tell();
    const said = (await Promise.all(all.map((child) => child.rest()))).flat();
    expect(said.toSorted()).toEqual(['MIGRATION_EXISTS', 'MIGRATION_EXISTS', 'MIGRATION_EXISTS', 'added']);
  });

  test('write side by side, and nothing of either is lost', async () => {
    addMigration();
    const all = ['a', 'b'].map(
      (name) =>
        new Child(`let journal = Journal.open(dir); say('ready'); await heard();
          const twice = (i) => { journal.emit('m1', '${name}', i); journal.emit('m1', '${name}', i); };
          for (let i = 0; i < 200; i++) {
            journal.transaction(() => twice(i));
            // Who closes the journal last copies its log and removes it, while the other opens it.
            if (i % 10 === 0) { journal[Symbol.dispose](); journal = Journal.open(dir); }
          }
          process.exit(0);`),
    );
    for (const child of all) expect(await child.line()).toBe('ready');
    for (const child of all) child.tell();
    for (const child of all) expect(await child.rest()).toEqual([]);
    using journal = Journal.open(dir);
    const events = journal.events();
    for (const name of ['a', 'b']) {
      const written = events.filter(({ type }) => type === name).map(({ payload }) => payload);
      expect(written).toEqual(Array.from({ length: 400 }, (_, i) => Math.floor(i / 2)));
    }
    // The two events of one transaction are never torn apart by the other process.
    expect(events.every(({ type }, i) => i % 2 === 1 || events[i + 1]?.type === type)).toBe(true);
  });
});

describe('a process that is killed while it writes', () => {
  test('loses no row that it was told is there, and leaves no half transaction', async () => {
    addMigration();
    let known = 0;
    for (let round = 0; round < 6; round += 1) {
      const child = new Child(`const journal = Journal.open(dir);
        for (let i = ${round * 1_000_000}; ; i++) {
          const seq = journal.transaction(() => { journal.emit('m1', 'a', i); return journal.emit('m1', 'b', i); });
          say(seq);
        }`);
      // A different number of commits in each round, so that the kill meets different states of the log.
      for (let i = 0; i < 5 + round * 37; i += 1) known = Number(await child.line());
      await child.kill();
      known = Math.max(known, ...(await child.rest()).map(Number));
      expect(known).toBeGreaterThan(0);
      using journal = Journal.open(dir);
      const events = journal.events();
      expect(events.length).toBeGreaterThanOrEqual(known);
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
      expect(events.every(({ type, payload }, i) => type === 'a' || events[i - 1]?.payload === payload)).toBe(true);
      expect(events.length % 2).toBe(0);
    }
  });

  // The limit of file sizes makes write(2) fail as a broken disk would: SQLite calls it an I/O error, in the COMMIT.
  test('a commit that fails for another reason than space says that its outcome is unknown', async () => {
    addMigration();
    const child = new Child(`process.on('SIGXFSZ', () => undefined);
      const journal = Journal.open(dir); say('ready'); await heard();
      try { journal.writeCommitRecord('m1', 'pivot', 'x'.repeat(50000)); } catch (error) { say(error.code); }
      await heard();
      journal.voidCommitRecord('m1', 'pivot', 'cancelled');
      say(String(journal.commitRecord('m1', 'pivot'))); process.exit(0);`);
    expect(await child.line()).toBe('ready');
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=20000:unlimited']);
    child.tell();
    expect(await child.line()).toBe('JOURNAL_OUTCOME');
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:unlimited']);
    child.tell();
    expect(await child.rest()).toEqual(['undefined']);
    using journal = Journal.open(dir);
    expect(journal.commitRecord('m1', 'pivot')).toBeUndefined();
  });
});

describe('the owner of a migration', () => {
  const claiming = `say('ready'); await heard();
    const owner = await MigrationOwner.claim(dir, 'm1', async (request) => ({ request, pid: process.pid }));
    say(owner ? 'won' : 'lost'); await heard(); await owner?.release(); say('released'); process.exit(0);`;

  /** Starts so many claimers, lets them go at once, and returns who won and who lost. */
  async function race(count: number): Promise<{ winners: Child[]; losers: Child[] }> {
    const all = Array.from({ length: count }, () => new Child(claiming));
    for (const child of all) expect(await child.line()).toBe('ready');
    for (const child of all) child.tell();
    const said = await Promise.all(all.map((child) => child.line()));
    expect(said.every((word) => word === 'won' || word === 'lost')).toBe(true);
    return { winners: all.filter((_, i) => said[i] === 'won'), losers: all.filter((_, i) => said[i] === 'lost') };
  }

  test('is exactly one of many, and after its kill -9 exactly one of the next', async () => {
    for (let round = 0; round < 2; round += 1) {
      const { winners, losers } = await race(4);
      expect(winners).toHaveLength(1);
      expect(await ownerPid(dir, 'm1')).toBe(winners[0]?.pid);
      expect(await askOwner(dir, 'm1', { command: 'abort', round })).toEqual({
        request: { command: 'abort', round },
        pid: winners[0]?.pid,
      });
      await winners[0]?.kill();
      expect(await ownerPid(dir, 'm1')).toBeUndefined();
      expect(readdirSync(join(dir, 'control'))).toContain('m1.sock');
      for (const child of losers) await child.kill();
    }
  });

  test('gives it up to another process', async () => {
    const { winners } = await race(1);
    expect(await MigrationOwner.claim(dir, 'm1', () => Promise.resolve())).toBeUndefined();
    winners[0]?.tell();
    expect(await winners[0]?.rest()).toEqual(['released']);
    await using owner = await MigrationOwner.claim(dir, 'm1', () => Promise.resolve());
    expect(await ownerPid(dir, 'm1')).toBe(process.pid);
    expect(owner?.id).toBe('m1');
  });

  test('that dies before it answers is an error: nobody knows what was done', async () => {
    const child =
      new Child(`await MigrationOwner.claim(dir, 'm1', () => { say('asked'); return new Promise(() => {}); });
      say('won');`);
    expect(await child.line()).toBe('won');
    const asked = askOwner(dir, 'm1', { command: 'abort' }).catch((error: unknown) => error);
    expect(await child.line()).toBe('asked');
    await child.kill();
    expect(await asked).toMatchObject({ code: 'OWNER_LOST' });
    expect(await askOwner(dir, 'm1', { command: 'abort' })).toBeUndefined();
  });

  test('a socket file that nobody ever listened on is taken over', async () => {
    await (await MigrationOwner.claim(dir, 'm1', () => Promise.resolve()))?.release();
    writeFileSync(join(dir, 'control', 'm1.sock'), '');
    expect((await race(3)).winners).toHaveLength(1);
  });
});
