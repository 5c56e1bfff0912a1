import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, run } from '../src/base/index.ts';
import { LabError } from './requires.ts';

/** The code name of this Debian (`bookworm`, `trixie`). */
export async function debianCodename(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(text)?.[1];
  if (name === undefined || !/^ID=debian$/m.test(text))
    throw new LabError('the lab needs a Debian (12 or 13) to run on');
  return name;
}

/** Where this machine takes Debian from, so that a local mirror is used where there is one. */
async function debianMirror(codename: string): Promise<string> {
  const folder = '/etc/apt/sources.list.d';
  const files = ['/etc/apt/sources.list', ...(await readdir(folder).catch(() => [])).map((name) => join(folder, name))];
  for (const file of files.filter((name) => /\.(list|sources)$/.test(name))) {
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const stanza of text.replaceAll(/^#.*\n/gm, '').split(/\n\s*\n/)) {
      const uri = /^URIs:\s*(\S+)/m.exec(stanza)?.[1];
      if (uri !== undefined && new RegExp(`^Suites:.*\\b${codename}(\\s|$)`, 'm').test(stanza)) return uri;
    }
    const uri = new RegExp(`^deb\\s+(?:\\[[^\\]]*\\]\\s+)?(\\S+)\\s+${codename}\\s`, 'm').exec(text)?.[1];
    if (uri !== undefined) return uri;
  }
  return 'http://deb.debian.org/debian';
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * An apt of its own in a folder: lists, sources and downloads are kept there, and the machine's own apt is not touched,
 * but for its list of installed packages, which is read. Works as any user.
 */
export class PrivateApt {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Sets it up for these suites (`bookworm`, `bookworm-backports`) and fetches their lists. */
  static async open(folder: string, suites: readonly string[]): Promise<PrivateApt> {
    if (!existsSync(KEYRING))
      throw new LabError('the lab needs Debian’s keys; install: sudo apt-get install debian-archive-keyring');
    for (const part of ['state/lists/partial', 'cache/archives/partial'])
      await mkdir(join(folder, part), { recursive: true });
    const mirror = await debianMirror(await debianCodename());
    await writeFile(
      join(folder, 'lab.sources'),
      `Types: deb\nURIs: ${mirror}\nSuites: ${suites.join(' ')}\nComponents: main\nSigned-By: ${KEYRING}\n`,
    );
    const apt = new PrivateApt(folder);
    try {
      // Without Error-Mode apt-get update ends well although it fetched nothing.
      await apt.#run('apt-get', ['-o', 'APT::Update::Error-Mode=any', 'update']);
    } catch (error) {
      const why = /\bE: +(.*)$/m.exec(messageOf(error))?.[1] ?? messageOf(error);
      throw new LabError(`Debian's packages cannot be fetched from ${mirror}: ${why}`, { cause: error });
    }
    return apt;
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    const settings = {
      'Dir::State': join(this.#folder, 'state'),
      'Dir::State::status': '/var/lib/dpkg/status',
      'Dir::Cache': join(this.#folder, 'cache'),
      'Dir::Etc::sourcelist': join(this.#folder, 'lab.sources'),
      'Dir::Etc::sourceparts': '/dev/null',
      'Acquire::Languages': 'none',
      'Acquire::Retries': '2',
      'APT::Sandbox::User': 'root',
      'APT::Get::List-Cleanup': 'false',
      // The locks are those of the machine's dpkg, which is only read.
      'Debug::NoLocking': 'true',
    };
    const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    return (await run(program, ['-q', ...options, ...args], { cwd: this.#folder })).stdout;
  }

  /** Removes its folder. */
  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }

  /** The packages that a package depends on directly. */
  async depends(name: string): Promise<string[]> {
    const text = await this.#run('apt-cache', ['depends', '--important', name]);
    return [...text.matchAll(/^\s*\|?(?:Pre)?Depends: (\S+)$/gm)].map((match) => match[1] ?? '');
  }

  /**
   * Unpacks packages into a folder, installing nothing: the named ones alone, or, with `suite`, their versions of that
   * suite and all that they need beyond what is installed here.
   */
  async unpack(names: readonly string[], into: string, suite?: string): Promise<void> {
    if (suite === undefined) await this.#run('apt-get', ['download', ...names]);
    else {
      const args = ['--yes', '--no-install-recommends', '--download-only', '--target-release', suite, 'install'];
      await this.#run('apt-get', [...args, ...names]);
    }
    const from = suite === undefined ? this.#folder : join(this.#folder, 'cache', 'archives');
    for (const deb of (await readdir(from)).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', join(from, deb), into]);
    }
  }
}
