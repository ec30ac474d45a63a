"""StoryReasoning: film stills with texts whose characters, actions and places are marked."""
