import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ferryError } from '../base/index.ts';
import { askOwner, type ControlHandler, MigrationOwner, ownerPid, removeDeadSockets } from './index.ts';

let root: string;
let dir: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'owner-'));
  // Longer than the address of a unix socket can be.
  dir = join(root, 'x'.repeat(120), 'state');
});
afterEach(() => rmSync(root, { recursive: true }));

async function claim(handler: ControlHandler, id = 'm1'): Promise<MigrationOwner> {
  const owner = await MigrationOwner.claim(dir, id, handler);
  if (!owner) throw new Error('somebody owns it');
  return owner;
}

const echo: ControlHandler = (request) => Promise.resolve(request);

describe('a claim', () => {
  test('is refused while the migration is owned, also by this process', async () => {
    const claims = await Promise.all(Array.from({ length: 8 }, () => MigrationOwner.claim(dir, 'm1', echo)));
    const owners = claims.filter((owner) => owner !== undefined);
    expect(owners).toHaveLength(1);
    await using other = await claim(echo, 'm2');
    expect(other.id).toBe('m2');
    await owners[0]?.release();
    await owners[0]?.release();
    await using again = await claim(echo);
    expect(again.id).toBe('m1');
  });

  test('makes a socket for this user alone, and its release removes it', async () => {
    const owner = await claim(echo);
    const control = join(dir, 'control');
    expect(statSync(control).mode & 0o777).toBe(0o700);
    expect(statSync(join(control, 'm1.sock')).mode & 0o777).toBe(0o600);
    expect(statSync(join(control, 'lock')).mode & 0o777).toBe(0o600);
    await owner.release();
    expect(readdirSync(control)).toEqual(['lock']);
    expect(await askOwner(dir, 'm1', { command: 'x' })).toBeUndefined();
  });
});

test('the sockets of the dead are removed, those of the living stay', async () => {
  await removeDeadSockets(dir);
  expect(readdirSync(root)).toEqual([]);
  await using owner = await claim(echo);
  writeFileSync(join(dir, 'control', 'dead.sock'), '');
  await removeDeadSockets(dir);
  expect(readdirSync(join(dir, 'control'))).toEqual(['lock', `${owner.id}.sock`]);
  expect(await askOwner(dir, 'm1', { command: 'x' })).toEqual({ command: 'x' });
});

describe('asking', () => {
  test('where nothing is, nobody answers and nothing is created', async () => {
    expect(await askOwner(dir, 'm1', { command: 'x' })).toBeUndefined();
    expect(await ownerPid(dir, 'm1')).toBeUndefined();
    expect(readdirSync(root)).toEqual([]);
  });

  test('brings back what the handler returns, for many at once', async () => {
    await using owner = await claim(async (request) => {
      await Promise.resolve();
      return { command: request.command, n: request['n'], text: 'ü\n'.repeat(100_000) };
    });
    expect(owner.id).toBe('m1');
    const asked = Array.from({ length: 100 }, (_, n) => askOwner(dir, 'm1', { command: 'x', n }));
    const answers = await Promise.all(asked);
    expect(answers.map((answer) => (answer as { n: number }).n)).toEqual(asked.map((_, n) => n));
    expect(answers[99]).toMatchObject({ text: 'ü\n'.repeat(100_000) });
    expect(await ownerPid(dir, 'm1')).toBe(process.pid);
  });

  test('brings back null for nothing, and the errors of the handler', async () => {
    await using owner = await claim(async ({ command }) => {
      await Promise.resolve();
      if (command === 'refuse')
        throw ferryError(
          'MIGRATION_EXISTS',
          { vm: 'web', id: 'm7', driver: 'which is running' },
          { details: { a: 1 } },
        );
      if (command === 'break') throw new TypeError('no such thing');
      return command === 'big' ? 1n : undefined;
    });
    expect(owner.id).toBe('m1');
    expect(await askOwner(dir, 'm1', { command: 'nothing' })).toBeNull();
    await expect(askOwner(dir, 'm1', { command: 'refuse' })).rejects.toMatchObject({
      code: 'MIGRATION_EXISTS',
      message: "virtual machine 'web' has an unfinished migration: m7, which is running",
      exitStatus: 3,
      details: { a: 1 },
    });
    await expect(askOwner(dir, 'm1', { command: 'break' })).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'blockferry has a bug: no such thing',
    });
    await expect(askOwner(dir, 'm1', { command: 'big' })).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  test('ends with its signal', async () => {
    const controller = new AbortController();
    await using owner = await claim(() => {
      controller.abort(new Error('enough'));
      return new Promise(() => undefined);
    });
    expect(owner.id).toBe('m1');
    await expect(askOwner(dir, 'm1', { command: 'x' }, { signal: controller.signal })).rejects.toThrow('enough');
    await expect(askOwner(dir, 'm1', { command: 'x' }, { signal: controller.signal })).rejects.toThrow('enough');
  });

  test('still brings the answer when the owner gives up meanwhile, and others find nobody', async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const asked = Promise.withResolvers<void>();
    const owner = await claim(() => {
      asked.resolve();
      return promise;
    });
    const answer = askOwner(dir, 'm1', { command: 'abort' });
    await asked.promise;
    await owner.release();
    expect(await ownerPid(dir, 'm1')).toBeUndefined();
    resolve('rolled back');
    expect(await answer).toBe('rolled back');
  });

  test.each(['not json\n', '{"ask":"else"}\n', 'null\n', ''])('%j is not answered and harms nobody', async (text) => {
    await using owner = await claim(echo);
    expect(owner.id).toBe('m1');
    process.chdir(join(dir, 'control'));
    const socket = connect('m1.sock');
    process.chdir(root);
    const closed = new Promise((resolve) => void socket.once('close', resolve));
    socket.on('error', () => undefined).end(text);
    await closed;
    expect(await askOwner(dir, 'm1', { command: 'x' })).toEqual({ command: 'x' });
  });
});
