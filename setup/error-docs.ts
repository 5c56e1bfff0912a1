// Ties docs/errors.md to the registry: order, messages and exit statuses come from there, the prose is the page's own.
import { ERROR_ENTRIES, EXIT } from '../src/base/index.ts';

/** A section of the page: its title, and the prose below the lines that come from the registry. */
export interface ErrorSection {
  readonly title: string;
  readonly prose: string;
}

function parts(page: string): { readonly intro: string; readonly sections: readonly ErrorSection[] } {
  const [intro = '', ...rest] = page.split(/^## /m);
  const sections = rest.map((text) => {
    const end = text.indexOf('\n');
    const prose = text.slice(end).replace(/^\s*>.*\n\s*Exit status \d+ \(\w+\)\.\n/, '');
    return { title: text.slice(0, end).trim(), prose: prose.trim() };
  });
  return { intro: intro.trim(), sections };
}

export function errorSections(page: string): readonly ErrorSection[] {
  return parts(page).sections;
}

/**
 * The page as it has to be: a section for each code, in the order of the registry, with its message and exit status, and
 * the prose that it has. A section whose code is gone is left out.
 */
export function refreshErrorDocs(page: string): string {
  const { intro, sections } = parts(page);
  const prose = new Map(sections.map((section) => [section.title, section.prose]));
  const codes = Object.entries(ERROR_ENTRIES).map(([code, { message, exit }]) =>
    [
      `## ${code}`,
      `> ${message}`,
      `Exit status ${EXIT[exit]} (${exit}).`,
      ...[prose.get(code) ?? ''].filter(Boolean),
    ].join('\n\n'),
  );
  return `${[intro, ...codes].join('\n\n')}\n`;
}
