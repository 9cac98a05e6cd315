/**
 * How a cluster of the `simulated` datastore behaves: durations and faults. They are set when the cluster is
 * created, through `extended_properties`, and the simulated driver of the guest agents carries them out.
 */
import { z } from 'zod';
import { text } from './fields.ts';

/** A subset of Trove's guest methods; simulated instances are all alike, so there is no switchover. */
const SIMULATED_ACTIONS = ['pre_upgrade', 'upgrade', 'post_upgrade'] as const;

const duration = z.int().min(0).max(3_600_000);

/** Which instance and which action a fault hits: the first `times` executions of the action by that instance. */
const fault = {
  instance: z.int().min(0).max(99).meta({ description: 'Which instance, from 0 in creation order.' }),
  action: z.enum(SIMULATED_ACTIONS),
  times: z.int().min(1).max(1000).default(1),
};

export const SimulatedProperties = z
  .strictObject({
    pre_upgrade_ms: duration.exactOptional(),
    upgrade_ms: duration.exactOptional(),
    post_upgrade_ms: duration.exactOptional(),
    /** Attempts that fail after their duration. */
    fail: z
      .array(
        z.strictObject({
          ...fault,
          error: z.string().min(1).max(255).exactOptional(),
          permanent: z.boolean().exactOptional(),
        }),
      )
      .max(100)
      .exactOptional(),
    /** Messages that the guest loses: it neither executes nor answers them. */
    silent: z.array(z.strictObject(fault)).max(100).exactOptional(),
  })
  .meta({ id: 'SimulatedProperties' });
export type SimulatedProperties = z.output<typeof SimulatedProperties>;

/** `extended_properties` of a cluster, by its datastore's manager. */
export const ExtendedProperties = z.strictObject({
  simulated: SimulatedProperties.exactOptional(),
  tags: z
    .array(text(100))
    .max(50)
    .exactOptional()
    .meta({ description: 'By which batches select clusters, whatever their datastore.' }),
});
export type ExtendedProperties = z.output<typeof ExtendedProperties>;
