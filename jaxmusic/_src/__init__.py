"""The rooms of the library, which are private: import from `jaxmusic` and its public modules."""
