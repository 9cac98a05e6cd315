import type { ClusterInstanceDocument } from '../../client/index.ts';
import { Note } from '../parts/basics.tsx';
import { When } from '../parts/when.tsx';
import { INSTANCE_WORDS, troublesOf } from '../words.ts';

interface InstanceTroublesProps {
  readonly instances: readonly ClusterInstanceDocument[];
}

/** Why each unhealthy instance is not well, in the words of Coffer and of its guest agent. */
export function InstanceTroubles({ instances }: InstanceTroublesProps) {
  return instances
    .filter(({ status, fault }) => status === 'ERROR' || status === 'UNKNOWN' || fault !== undefined)
    .map((instance) => <InstanceTrouble key={instance.id} instance={instance} />);
}

function InstanceTrouble({ instance }: { readonly instance: ClusterInstanceDocument }) {
  const { name, status, heard } = instance;
  const { text, tone } = INSTANCE_WORDS[status];
  return (
    <Note kind={tone === 'bad' ? 'bad' : 'wait'} title={`${name}: ${text}`}>
      {troublesOf(instance).map((trouble) => (
        <p key={trouble}>{trouble}</p>
      ))}
      {status === 'UNKNOWN' && (
        <p>
          {heard === null ? (
            'Its guest agent was never heard. Start it on its host.'
          ) : (
            <>
              Its guest agent was last heard at <When at={heard} />. Look at it on its host.
            </>
          )}
        </p>
      )}
    </Note>
  );
}
