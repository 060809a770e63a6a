import type { EndpointApi, IEndpoint } from '../endpointapi';
import { Polled } from './polled';

/** The endpoints of the server. */
export class Endpoints extends Polled<IEndpoint> {
  constructor(readonly api: EndpointApi) {
    super(() => api.all());
  }
}
