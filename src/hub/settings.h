// Where the hub and its cache are, by the environment variables of the hub's own clients.
#pragma once
#include <string>

#include "base/result.h"

namespace raison {

struct HubSettings {
  std::string cache;     // folder of models--ORG--NAME: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/...
  std::string endpoint;  // HF_ENDPOINT without '/' at the end, or https://huggingface.co
  std::string token;     // HF_TOKEN, else the file HF_TOKEN_PATH, else HF_HOME/token; "" if there is none
  bool offline = false;  // HF_HUB_OFFLINE (1, ON, YES, TRUE): nothing is asked of any host
};

Result<HubSettings> hub_settings_from_environment();

}  // namespace raison
