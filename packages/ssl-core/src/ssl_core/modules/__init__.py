"""Building blocks of methods: heads and the exponential moving average teacher."""
