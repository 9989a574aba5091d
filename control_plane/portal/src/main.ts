import { QueryCache, QueryClient, VueQueryPlugin } from "@tanstack/vue-query"
import { createApp } from "vue"
import { Problem } from "./api/client"
import { keys, shouldRetry } from "./api/queries"
import App from "./App.vue"
import { createPortalRouter } from "./router"
import "./styles/main.css"

const client = new QueryClient({
  queryCache: new QueryCache({
    // A session that ended shows itself on any read; asking who we are then leads to the sign-in.
    onError: (error, query) => {
      const ended = error instanceof Problem && error.status === 401
      if (ended && query.queryKey[0] !== keys.me[0]) void client.invalidateQueries({ queryKey: keys.me })
    },
  }),
  defaultOptions: { queries: { retry: shouldRetry, staleTime: 5000 } },
})

createApp(App).use(VueQueryPlugin, { queryClient: client }).use(createPortalRouter(client)).mount("#app")
