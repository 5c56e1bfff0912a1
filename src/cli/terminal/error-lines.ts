import { type FerryError, isFerryError } from '../../base/index.ts';
import { refusalsOf } from './refusals-of.ts';
import { count, type Paint, printable } from './text.ts';

/** An error for a person: `blockferry: MESSAGE`, and below it what to do. Of a refused plan, each reason by itself. */
export function errorLines(error: FerryError, paint: Paint, { debug }: { readonly debug: boolean }): string[] {
  const head = (message: string): string => `${paint('red', 'blockferry:')} ${printable(message)}`;
  const refusals = refusalsOf(error);
  const lines =
    refusals.length > 0
      ? [
          head(
            `the migration of ${error.fields['vm']} is refused, and nothing was touched (${count(refusals.length, 'reason')}):`,
          ),
          ...refusals.flatMap(({ message, remedy }) => [
            `  - ${printable(message)}`,
            `    what to do: ${printable(remedy)}`,
          ]),
        ]
      : [head(error.message), `  what to do: ${printable(error.remedy)}`, ...aboutCause(error)];
  return debug ? [...lines, ...stack(error)] : lines;
}

/** A rollback has a cause, and what can be done about that is what helps. */
function aboutCause({ code, cause }: FerryError): string[] {
  return code === 'ROLLED_BACK' && isFerryError(cause) ? [`  about the cause: ${printable(cause.remedy)}`] : [];
}

function stack(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const own = (error.stack ?? '').split('\n').map((line) => `  ${printable(line)}`);
  return error.cause === undefined ? own : [...own, '  caused by:', ...stack(error.cause)];
}
