// A custom pixel for Shopify: Settings, Customer events, Add custom pixel. Paste this whole file, fill in SETTINGS,
// save and connect. In the source, turn on "Accept pages in sandboxed frames": Shopify runs pixels in such a frame.
const SETTINGS = {
  collector: "https://data.your-shop.example/",
  key: "YOUR_PIPELINE_KEY",
};

const df = (window._df = window._df || { q: [] });
["track", "page", "identify", "consent"].forEach((name) => {
  df[name] = df[name] || ((...args) => df.q.push([name, ...args]));
});

// Shopify starts a pixel only once its consent settings allow it; what the visitor chose is sent with each event.
function stateConsent(privacy) {
  if (!privacy) return;
  window._df.consent({
    advertising: privacy.marketingAllowed === true,
    analytics: privacy.analyticsProcessingAllowed === true,
    functional: privacy.preferencesProcessingAllowed === true,
  });
}

stateConsent(init.customerPrivacy);
api.customerPrivacy.subscribe("visitorConsentCollected", (event) => stateConsent(event.customerPrivacy));

function pageOf(event) {
  const page = (event.context && event.context.document) || {};
  return {
    url: page.location && page.location.href,
    title: page.title,
    referrer: page.referrer,
  };
}

analytics.subscribe("page_viewed", (event) => window._df.page(pageOf(event)));
[
  "cart_viewed",
  "checkout_completed",
  "checkout_started",
  "collection_viewed",
  "payment_info_submitted",
  "product_added_to_cart",
  "product_viewed",
  "search_submitted",
].forEach((name) => {
  analytics.subscribe(name, (event) => {
    window._df.track(name, Object.assign({ event_id: event.id }, event.data));
  });
});

// The frame's own address says nothing: each page view names the page of the shop.
const script = document.createElement("script");
script.async = true;
script.src = SETTINGS.collector + "d.js?key=" + encodeURIComponent(SETTINGS.key) + "&pageViews=manual";
document.head.appendChild(script);
