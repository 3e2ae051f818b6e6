declare namespace plugin {
  /** Settings of the plugin: `config` of `'dealbox-webhooks'` in `config/plugins.js`. */
  interface Settings {
    /**
     * What every webhook is signed with: text of at least 24 bytes, or `whsec_` and at least 24 bytes in base64.
     * Several, as a list or separated by commas, all sign. Default: STRAPI_WEBHOOK_SECRET.
     */
    secret?: string | string[];
    /**
     * The exact URLs of the webhooks that are signed, as a list or separated by commas; others are sent as Strapi does.
     * Default: STRAPI_WEBHOOK_URLS, else every webhook.
     */
    urls?: string | string[];
    /** How many more tries a delivery gets, 0 to 20. Default: STRAPI_WEBHOOK_RETRIES, else 6. */
    retries?: number | string;
    /** Seconds from the first try in which they happen, 1 to 3600. Default: STRAPI_WEBHOOK_RETRY_SECONDS, else 120. */
    retrySeconds?: number | string;
    /** How many deliveries may wait for one URL, 1 to 100,000. Default: STRAPI_WEBHOOK_MAX_WAITING, else 1000. */
    maxWaiting?: number | string;
    /** Seconds that Strapi's shutdown waits for what is under way, 0 to 60. Default: STRAPI_WEBHOOK_GRACE_SECONDS, else 5. */
    graceSeconds?: number | string;
  }

  /** What Strapi gives to each part of a plugin. */
  interface Context {
    strapi: unknown;
  }
}

declare const plugin: {
  config: {
    default(context: { env: (name: string) => string | undefined }): plugin.Settings;
    /** @throws {Error} that names every mistake and shows no value. */
    validator(settings: plugin.Settings): void;
  };
  /** @throws {Error} when the webhooks of this version of Strapi cannot be signed. */
  register(context: plugin.Context): Promise<void>;
  destroy(context: plugin.Context): Promise<void>;
};

export = plugin;
