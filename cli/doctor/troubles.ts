/** Everything that waits for somebody or has failed: each thing by its name, with the next command. */
import type { DeadLettersAnswer, HealthReportDocument } from '../../client/index.ts';
import { counted } from '../../src/core/words.ts';
import { bad, type Finding, ok, skipped, warning } from './findings.ts';

type Upgrade = NonNullable<HealthReportDocument['upgrades']>[number];
type Batch = NonNullable<HealthReportDocument['batches']>[number];
type Problem = NonNullable<HealthReportDocument['guests']>['problems'][number];
type Guest = NonNullable<HealthReportDocument['guests']>['unwell'][number];

/** At most this many things of one kind are named; the others are counted. */
const NAMED = 10;

/** The command as it must be typed: with the tenant, where the tenant is not that of the session. */
type Typed = (command: string, tenant_id: string) => string;

export function troubleFindings(report: HealthReportDocument, tenant: string): readonly Finding[] {
  const typed: Typed = (command, tenant_id) =>
    `coffer ${command}${tenant_id === tenant ? '' : ` --tenant ${tenant_id}`}`;
  const { upgrades, batches, guests } = report;
  return [
    ...(upgrades
      ? named('upgrades', upgrades, (one) => upgradeFinding(one, typed), 'none waits for a person')
      : []),
    ...(batches
      ? named('batches', batches, (one) => batchFinding(one, typed), 'none waits for a person')
      : []),
    ...(guests ? guestFindings(guests, typed) : []),
    ...(guests
      ? named(
          'primaries',
          guests.problems.filter((one) => !isOfAdoption(one)),
          (one) => primariesFinding(one, typed),
          'no replica set has two primaries, or none',
        )
      : []),
    ...(guests
      ? named(
          'adoption',
          guests.problems.filter(isOfAdoption),
          (one) => adoptionFinding(one, typed),
          'no agent of an adopted cluster refuses anything',
        )
      : []),
  ];
}

function named<One>(
  check: string,
  all: readonly One[],
  findingOf: (one: One) => Finding,
  well: string,
): readonly Finding[] {
  if (all.length === 0) return [ok(check, well)];
  const findings = all.map(findingOf);
  const sorted = [
    ...findings.filter(({ state }) => state === 'bad'),
    ...findings.filter(({ state }) => state !== 'bad'),
  ];
  const more = sorted.slice(NAMED);
  if (more.length === 0) return sorted;
  const rest = warning(check, `and ${more.length} more`, 'coffer doctor again, once these are settled.');
  return [...sorted.slice(0, NAMED), rest];
}

function upgradeFinding(upgrade: Upgrade, typed: Typed): Finding {
  const { id, cluster_id, cluster_name, tenant_id, state, reason, message, silent, actions } = upgrade;
  const name = `the upgrade of ${cluster_name ?? cluster_id}`;
  const [first] = actions;
  const goOn =
    first === undefined ? typed(`upgrade-show ${id}`, tenant_id) : typed(`upgrade-${first} ${id}`, tenant_id);
  if (state === 'paused') {
    const found = `${name} is paused since ${upgrade.since} (${reason}): ${message}`;
    return reason === 'failure' || reason === 'gate'
      ? bad('upgrades.paused', found, `Mend that, then: ${goOn}`)
      : warning('upgrades.paused', found, goOn);
  }
  const show = typed(`upgrade-show ${id}`, tenant_id);
  if (silent) {
    const found = `${name} stands still: nothing has moved since ${upgrade.last_progress}`;
    return bad('upgrades.silent', found, `Look what it waits for: ${show}`);
  }
  const found = `${name} has ended as ${state}, and left the cluster on more than one version: ${message}`;
  const ways = actions.map((action) => typed(`upgrade-${action} ${id}`, tenant_id)).join(', or ');
  return bad('upgrades.failed', found, ways === '' ? show : `Mend that, then: ${ways}`);
}

const BAD_REASONS: readonly Batch['reason'][] = ['failures', 'write_outage', 'health'];

function batchFinding(batch: Batch, typed: Typed): Finding {
  const { id, name, tenant_id, state, reason, message, since, ended, actions } = batch;
  const title = name === null ? `batch ${id}` : `batch '${name}'`;
  if (state === 'paused') {
    const found = `${title} is paused since ${since} (${reason}): ${message}`;
    const goOn = typed(`batch-${actions[0] ?? 'show'} ${id}`, tenant_id);
    return BAD_REASONS.includes(reason)
      ? bad(
          'batches.paused',
          found,
          `${typed(`batch-report ${id}`, tenant_id)} says what failed; then: ${goOn}`,
        )
      : warning('batches.paused', found, goOn);
  }
  if (state === 'incomplete') {
    const report = typed(`batch-report ${id}`, tenant_id);
    return warning('batches.incomplete', `${title} has ended at ${ended}, incomplete: ${message}`, report);
  }
  return warning('batches.waiting', `${title}: ${message}`, typed(`batch-show ${id}`, tenant_id));
}

function isOfAdoption({ gate }: Problem): boolean {
  return gate === 'adoption_accepted';
}

function adoptionFinding({ cluster_name, cluster_id, tenant_id, reason }: Problem, typed: Typed): Finding {
  const report = typed(`cluster-report ${cluster_id}`, tenant_id);
  return warning('adoption', `${cluster_name}: ${reason}`, `Do that on its host; then look: ${report}`);
}

function primariesFinding({ cluster_name, cluster_id, tenant_id, reason }: Problem, typed: Typed): Finding {
  const show = typed(`cluster-show ${cluster_id}`, tenant_id);
  return bad(
    'primaries',
    `${cluster_name}: ${reason}`,
    `docs/troubleshooting.md, "Two primaries, or none"; then look: ${show}`,
  );
}

function guestFindings(
  { total, unwell }: NonNullable<HealthReportDocument['guests']>,
  typed: Typed,
): readonly Finding[] {
  const found = unwell.flatMap((guest) => guestFinding(guest, typed) ?? []);
  return named(
    'guests',
    found,
    (finding) => finding,
    `${counted(total, 'instance')}, none of them failed or silent`,
  );
}

/** Null for an instance that is being built or upgraded as it should be. */
function guestFinding(guest: Guest, typed: Typed): Finding | null {
  const { instance_id, instance_name, cluster_name, tenant_id, status, heard, message, fault } = guest;
  const name = `${instance_name} of ${cluster_name}`;
  const reasons = [...new Set([fault, message])].filter((reason) => reason !== null);
  const why = reasons.length === 0 ? '' : `: ${reasons.join('; ')}`;
  const show = typed(`instance-show ${instance_id}`, tenant_id);
  switch (status) {
    case 'ERROR':
      return bad('guests.failed', `${name} is failed${why}`, `Mend that on its host; then look: ${show}`);
    case 'UNKNOWN': {
      const when = heard === null ? 'was never heard' : `was last heard at ${heard}`;
      const start = `Start its guest agent on its host, or see in its log what keeps it from RabbitMQ; then look: ${show}`;
      return bad('guests.silent', `${name} ${when}${why}`, start);
    }
    case 'SHUTDOWN':
      return warning(
        'guests.shutdown',
        `${name} is shut down${why}`,
        `Start it on its host; then look: ${show}`,
      );
    case 'BUILD':
      if (heard !== null) return null;
      return warning(
        'guests.building',
        `${name} waits for its guest agent`,
        `Start it on its host; then look: ${show}`,
      );
    default:
      return null;
  }
}

/** `letters`: null where they could not be read. */
export function deadLetterFindings(
  count: number | null,
  letters: DeadLettersAnswer | null,
): readonly Finding[] {
  const check = 'dead_letters';
  if (count === null && letters === null) {
    return [skipped(check, 'not known while RabbitMQ is away', 'Mend RabbitMQ first.')];
  }
  const total = letters?.total ?? count ?? 0;
  if (total === 0) return [ok(check, 'none')];
  const shown = (letters?.dead_letters ?? []).slice(0, NAMED);
  const findings = shown.map(({ id, method, reason, buried }) =>
    warning(
      check,
      `a message that nobody could act on${method === null ? '' : ` (${method})`}, since ${buried ?? 'an unknown time'}: ${reason ?? 'no reason is known'}`,
      `coffer dead-letters show ${id}; then replay or discard it`,
    ),
  );
  if (total === shown.length) return findings;
  return [
    ...findings,
    warning(check, `${counted(total - shown.length, 'message')} more`, 'coffer dead-letters list'),
  ];
}
