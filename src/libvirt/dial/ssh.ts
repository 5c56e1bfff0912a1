/**
 * `qemu+ssh://`: the system's own ssh, so that `~/.ssh/config`, agents and jump hosts work as in every shell. On the far
 * side the same is run that libvirt runs: `virt-ssh-helper` where it is installed, which finds the right socket by itself,
 * else netcat on libvirtd's socket.
 */
import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { ferryError } from '../../base/index.ts';
import type { LibvirtUri } from '../uri.ts';
import type { Dialed } from './dial.ts';

/** How much of what ssh says is kept for an error's message. */
const SAID_LIMIT = 2000;

/** Quotes a word for a shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The command on the far side. ssh hands it to a shell, which starts another one: whatever the user's own shell is. */
export function remoteCommand(uri: LibvirtUri): string {
  const socket = quoted(uri.options.get('socket') ?? '/var/run/libvirt/libvirt-sock');
  const netcat = quoted(uri.options.get('netcat') ?? 'nc');
  // Debian's netcat stays after the end of its input unless it is told -q0, which others do not know.
  const viaNetcat = `if ${netcat} -q 2>&1 | grep "requires an argument" >/dev/null 2>&1; then ARG=-q0; else ARG=; fi; ${netcat} $ARG -U ${socket}`;
  const viaHelper = `virt-ssh-helper ${quoted(uri.remoteName)}`;
  const auto = `if command -v virt-ssh-helper >/dev/null 2>&1; then ${viaHelper}; else ${viaNetcat}; fi`;
  const proxy =
    uri.options.get('proxy') ?? (uri.options.has('netcat') || uri.options.has('socket') ? 'netcat' : 'auto');
  const chosen = proxy === 'native' ? viaHelper : proxy === 'netcat' ? viaNetcat : auto;
  return `sh -c ${quoted(chosen)}`;
}

/** The arguments of ssh. */
export function sshArguments(uri: LibvirtUri): string[] {
  const option = (name: string): boolean => !['0', undefined].includes(uri.options.get(name));
  return [
    ...(uri.port === undefined ? [] : ['-p', String(uri.port)]),
    ...(uri.user === undefined ? [] : ['-l', uri.user]),
    ...(uri.options.has('keyfile') ? ['-i', uri.options.get('keyfile') ?? ''] : []),
    '-T',
    '-e',
    'none',
    ...(option('no_tty') ? ['-o', 'BatchMode=yes'] : []),
    ...(option('no_verify') ? ['-o', 'StrictHostKeyChecking=no'] : []),
    '--',
    uri.host ?? '',
    remoteCommand(uri),
  ];
}

/** Starts ssh (or the program of the option `command`). Whether it gets there shows at the first answer. */
export function dialSsh(uri: LibvirtUri): Dialed {
  const program = uri.options.get('command') ?? 'ssh';
  const child = spawn(program, sshArguments(uri), { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said = (said + String(text)).slice(-SAID_LIMIT);
  });
  const stream = new Duplex({
    read: () => void child.stdout.resume(),
    write: (chunk, _, done) => void child.stdin.write(chunk, done),
    final: (done) => void child.stdin.end(done),
    destroy: (error, done) => {
      child.kill();
      done(error);
    },
  });
  child.stdout.on('data', (chunk) => void (stream.push(chunk) || child.stdout.pause()));
  child.stdin.on('error', () => undefined);
  // Not before all is read that ssh has said.
  child.once('close', () => stream.push(null));
  child.once('error', (error) => {
    stream.destroy(ferryError('TOOL_MISSING', { program, reason: error.message }, { cause: error }));
  });
  return { stream, said: () => said.trim() };
}
