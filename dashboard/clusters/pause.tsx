import type { ClusterDocument } from '../../client/index.ts';
import { Note } from '../parts/basics.tsx';
import { Ago, When } from '../parts/when.tsx';
import { troublesOf, upgradeWord } from '../words.ts';

type PresentUpgrade = NonNullable<ClusterDocument['upgrade']>;

/**
 * In a row of the list: why and since when a cluster's upgrade waits; for an idle cluster, what is wrong with
 * its instances.
 */
export function ReasonLine({ cluster: { upgrade, instances } }: { readonly cluster: ClusterDocument }) {
  if (upgrade?.since) {
    return (
      <p className="reason-line" title={upgrade.message ?? undefined}>
        <Ago at={upgrade.since} />
        {upgrade.message !== null && <>: {upgrade.message}</>}
      </p>
    );
  }
  const unwell = instances.filter(({ status }) => status === 'ERROR' || status === 'UNKNOWN');
  const said = unwell.flatMap((one) => troublesOf(one).map((trouble) => `${one.name}: ${trouble}`));
  const unheard = unwell.find(({ status }) => status === 'UNKNOWN');
  if (said[0] !== undefined) {
    return (
      <p className="reason-line" title={said.join('\n')}>
        {said[0]}
      </p>
    );
  }
  if (!unheard) return null;
  return (
    <p className="reason-line">
      {unheard.name}: {unheard.heard === null ? 'never heard' : <Ago at={unheard.heard} />}
    </p>
  );
}

/** At the top of a cluster's page: why its upgrade is paused, since when, and until when. */
export function PauseNote({ upgrade }: { readonly upgrade: PresentUpgrade }) {
  const { to, since, until, message } = upgrade;
  if (since === null) return null;
  const { text, tone } = upgradeWord(upgrade);
  return (
    <Note kind={tone === 'bad' ? 'bad' : 'wait'} title={`The upgrade to ${to}: ${text}`}>
      {message !== null && <p>{message}</p>}
      <p>
        Paused since <When at={since} /> (<Ago at={since} />
        ).{' '}
        {until === null ? (
          'It waits for a person.'
        ) : (
          <>
            It goes on by itself at <When at={until} />.
          </>
        )}
      </p>
    </Note>
  );
}
