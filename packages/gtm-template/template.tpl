___TERMS_OF_SERVICE___

By creating or modifying this file you agree to Google Tag Manager's Community
Template Gallery Developer Terms of Service available at
https://developers.google.com/tag-manager/gallery-tos (or such other URL as
Google may provide), as modified from time to time.


___INFO___

{
  "type": "TAG",
  "id": "datafly",
  "version": 1,
  "securityGroups": [],
  "displayName": "Datafly",
  "categories": ["ADVERTISING", "CONVERSIONS"],
  "brand": {"id": "datafly", "displayName": "Datafly"},
  "description": "Send page views and events to your own collector, which delivers them to Pinterest.",
  "containerContexts": ["WEB"]
}


___TEMPLATE_PARAMETERS___

[
  {
    "type": "TEXT",
    "name": "collector",
    "displayName": "Address of the collector",
    "simpleValueType": true,
    "help": "Such as https://data.your-shop.example/",
    "valueValidators": [{"type": "REGEX", "args": ["https://.+/"], "errorMessage": "An https address that ends with /"}]
  },
  {
    "type": "TEXT",
    "name": "key",
    "displayName": "Pipeline key",
    "simpleValueType": true,
    "valueValidators": [{"type": "REGEX", "args": ["dk_(live|test)_.+"]}]
  },
  {
    "type": "CHECKBOX",
    "name": "wait",
    "checkboxText": "Wait for consent",
    "simpleValueType": true,
    "help": "Hold events until the visitor has answered the consent banner. Choose the same in each Datafly tag."
  },
  {
    "type": "SELECT",
    "name": "call",
    "displayName": "What to send",
    "simpleValueType": true,
    "defaultValue": "load",
    "selectItems": [
      {"value": "load", "displayValue": "Page views (on all pages)"},
      {"value": "track", "displayValue": "An event"},
      {"value": "identify", "displayValue": "Who the visitor is"}
    ]
  },
  {
    "type": "TEXT",
    "name": "event",
    "displayName": "Event name",
    "simpleValueType": true,
    "help": "Empty: the name of the event in the data layer, such as purchase.",
    "enablingConditions": [{"paramName": "call", "paramValue": "track", "type": "EQUALS"}]
  },
  {
    "type": "TEXT",
    "name": "properties",
    "displayName": "Properties",
    "simpleValueType": true,
    "help": "A variable with an object. Empty: ecommerce from the data layer.",
    "enablingConditions": [{"paramName": "call", "paramValue": "track", "type": "EQUALS"}]
  },
  {
    "type": "TEXT",
    "name": "userId",
    "displayName": "User id",
    "simpleValueType": true,
    "enablingConditions": [{"paramName": "call", "paramValue": "identify", "type": "EQUALS"}]
  },
  {
    "type": "TEXT",
    "name": "traits",
    "displayName": "Traits",
    "simpleValueType": true,
    "help": "A variable with an object, such as {email: …}.",
    "enablingConditions": [{"paramName": "call", "paramValue": "identify", "type": "EQUALS"}]
  }
]


___SANDBOXED_JS_FOR_WEB_TEMPLATE___

const callInWindow = require('callInWindow');
const copyFromDataLayer = require('copyFromDataLayer');
const encodeUriComponent = require('encodeUriComponent');
const injectScript = require('injectScript');

const url = data.collector + 'd.js?key=' + encodeUriComponent(data.key) + (data.wait ? '&consent=wait' : '');

injectScript(url, () => {
  if (data.call === 'track') {
    const ecommerce = copyFromDataLayer('ecommerce') || {};
    // Without items it has the form of Enhanced Ecommerce, which is known by its name.
    const properties = data.properties || (ecommerce.items ? ecommerce : {ecommerce: ecommerce});
    callInWindow('_df.track', data.event || copyFromDataLayer('event'), properties);
  } else if (data.call === 'identify') {
    callInWindow('_df.identify', data.userId || undefined, data.traits || undefined);
  }
  data.gtmOnSuccess();
}, data.gtmOnFailure, url);


___WEB_PERMISSIONS___

[
  {
    "instance": {
      "key": {"publicId": "inject_script", "versionId": "1"},
      "param": [
        {
          "key": "urls",
          "value": {"type": 2, "listItem": [{"type": 1, "string": "https://*/d.js*"}]}
        }
      ]
    },
    "clientAnnotations": {"isEditedByUser": true},
    "isRequired": true
  },
  {
    "instance": {
      "key": {"publicId": "read_data_layer", "versionId": "1"},
      "param": [
        {"key": "allowedKeys", "value": {"type": 1, "string": "specific"}},
        {
          "key": "keyPatterns",
          "value": {"type": 2, "listItem": [{"type": 1, "string": "ecommerce"}, {"type": 1, "string": "event"}]}
        }
      ]
    },
    "clientAnnotations": {"isEditedByUser": true},
    "isRequired": true
  },
  {
    "instance": {
      "key": {"publicId": "access_globals", "versionId": "1"},
      "param": [
        {
          "key": "keys",
          "value": {
            "type": 2,
            "listItem": [
              {
                "type": 3,
                "mapKey": [
                  {"type": 1, "string": "key"},
                  {"type": 1, "string": "read"},
                  {"type": 1, "string": "write"},
                  {"type": 1, "string": "execute"}
                ],
                "mapValue": [
                  {"type": 1, "string": "_df.track"},
                  {"type": 8, "boolean": true},
                  {"type": 8, "boolean": false},
                  {"type": 8, "boolean": true}
                ]
              },
              {
                "type": 3,
                "mapKey": [
                  {"type": 1, "string": "key"},
                  {"type": 1, "string": "read"},
                  {"type": 1, "string": "write"},
                  {"type": 1, "string": "execute"}
                ],
                "mapValue": [
                  {"type": 1, "string": "_df.identify"},
                  {"type": 8, "boolean": true},
                  {"type": 8, "boolean": false},
                  {"type": 8, "boolean": true}
                ]
              }
            ]
          }
        }
      ]
    },
    "clientAnnotations": {"isEditedByUser": true},
    "isRequired": true
  }
]


___TESTS___

scenarios: []


___NOTES___

A tag of this template loads Datafly.js once and waits for it. Consent of Google consent mode is read from the data
layer.
